package schema

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProject(t *testing.T) {
	const (
		ext = "urn:ietf:params:scim:schemas:extension:test:2.0:TestResource"
		doc = `{"schemas":["s"],"id":"1","externalId":"e","meta":{"created":"c","version":"v"},"identifier":"i","constant":"c","onRequest":"r",
			"secret":"s","tags":["a"],"pair":{"left":"l","right":1},"items":[{"value":"a","type":"x"},{"type":"y"}],
			"` + ext + `":{"extString":"x","extInteger":1}}`
		minimal = `"schemas":["s"],"id":"1","constant":"c"`
	)
	tests := []struct {
		name             string
		attributes, excl []string
		want             string
	}{
		{"default", nil, nil, `{` + minimal + `,"externalId":"e","meta":{"created":"c","version":"v"},"identifier":"i","tags":["a"],"pair":{"left":"l","right":1},"items":[{"value":"a","type":"x"},{"type":"y"}],"` + ext + `":{"extString":"x","extInteger":1}}`},
		{"attributes", []string{"IDENTIFIER", "tags"}, nil, `{` + minimal + `,"identifier":"i","tags":["a"]}`},
		{"request", []string{"onRequest"}, nil, `{` + minimal + `,"onRequest":"r"}`},
		{"never", []string{"secret"}, nil, `{` + minimal + `}`},
		{"unknown", []string{"x", "a b", ""}, nil, `{` + minimal + `}`},
		{"sub-attributes", []string{"pair.left", "items.value", "meta.created"}, nil, `{` + minimal + `,"pair":{"left":"l"},"items":[{"value":"a"}],"meta":{"created":"c"}}`},
		{"whole and sub-attribute", []string{"pair.left", "pair"}, nil, `{` + minimal + `,"pair":{"left":"l","right":1}}`},
		{"value filter", []string{`items[type eq "x"]`}, nil, `{` + minimal + `,"items":[{"value":"a","type":"x"},{"type":"y"}]}`},
		{"extension attribute", []string{ext + ":extString"}, nil, `{` + minimal + `,"` + ext + `":{"extString":"x"}}`},
		{"extension", []string{ext}, nil, `{` + minimal + `,"` + ext + `":{"extString":"x","extInteger":1}}`},
		{"base schema", []string{"urn:ietf:params:scim:schemas:test:2.0:TestResource"}, nil, `{` + minimal + `,"identifier":"i","tags":["a"],"pair":{"left":"l","right":1},"items":[{"value":"a","type":"x"},{"type":"y"}]}`},
		{"excluded", nil, []string{"externalId", "meta", "tags", "items", ext}, `{` + minimal + `,"identifier":"i","pair":{"left":"l","right":1}}`},
		{"excluded sub-attributes", nil, []string{"externalId", "meta.version", "tags", "items.type", "pair.left", "pair.right", ext + ":extString"}, `{` + minimal + `,"identifier":"i","meta":{"created":"c"},"items":[{"value":"a"}],"` + ext + `":{"extInteger":1}}`},
		{"always stays", nil, []string{"id", "schemas", "constant", "externalId", "meta", "tags", "items", "pair", "identifier", ext}, `{` + minimal + `}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := decode(t, doc)
			p, err := resourceType(t, "TestResource").Select(tt.attributes, tt.excl)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, tt.want), p.Project(in)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(decode(t, doc), in); diff != "" {
				t.Errorf("the input was changed: %s", diff)
			}
		})
	}
	_, err := resourceType(t, "User").Select([]string{"a"}, []string{"b"})
	wantError(t, err, InvalidValue, "")
}

func TestProjectionShows(t *testing.T) {
	group := resourceType(t, "Group")
	tests := []struct {
		attributes, excluded []string
		want                 bool
	}{
		{nil, nil, true},
		{nil, []string{"members"}, false},
		{nil, []string{GroupURN + ":Members"}, false},
		{nil, []string{"members.display"}, true},
		{[]string{"displayName"}, nil, false},
		{[]string{"members.value"}, nil, true},
	}
	for _, tt := range tests {
		p, err := group.Select(tt.attributes, tt.excluded)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Shows("members"); got != tt.want {
			t.Errorf("%v %v: %v", tt.attributes, tt.excluded, got)
		}
	}
}
