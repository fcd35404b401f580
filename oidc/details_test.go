package oidc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/fault"
)

const paymentDetails = `[{"type":"payment_initiation","actions":["initiate","status","cancel"],"locations":["https://example.com/payments"],` +
	`"instructedAmount":{"currency":"EUR","amount":"123.50"},"creditorName":"Merchant A","creditorAccount":{"iban":"DE02100100109307118603"},` +
	`"remittanceInformationUnstructured":"Ref Number Merchant"}]`

func details(t testing.TB, text string) Details {
	t.Helper()
	parsed, err := ParseDetails(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return parsed
}

func TestParseDetails(t *testing.T) {
	if got := details(t, paymentDetails); len(got) != 1 || got[0].Type() != "payment_initiation" {
		t.Errorf("got %v", got)
	}
	if got, err := ParseDetails(""); got != nil || err != nil {
		t.Errorf("nothing is %v, %v", got, err)
	}
	object := func(member string) string { return `[{"type":"t",` + member + `}]` }
	for name, text := range map[string]string{
		"RFC 9396 §2 no array":          `{"type":"t"}`,
		"RFC 9396 §2 no object in it":   `["t"]`,
		"RFC 9396 §2 null in it":        `[null]`,
		"RFC 9396 §2 none in it":        `[]`,
		"RFC 9396 §2 without a type":    `[{"types":"t"}]`,
		"RFC 9396 §2 an empty type":     `[{"type":""}]`,
		"RFC 9396 §2 a type in a list":  `[{"type":["t"]}]`,
		"two types in one object":       `[{"type":"t","type":"u"}]`,
		"two types, one of them hidden": `[{"type":"t","\u0074ype":"u"}]`,
		"a member twice further in":     object(`"a":{"b":1,"c":2,"b":1}`),
		"a member twice in a list":      object(`"a":[{"b":1,"b":2}]`),
		"no JSON":                       `[{"type":"t"}`,
		"more than JSON":                `[{"type":"t"}] []`,
		"a comma too many":              `[{"type":"t"},]`,
		"no UTF-8":                      object("\"a\":\"\xff\""),
		"too many":                      "[" + strings.Repeat(`{"type":"t"},`, maxDetailObjects) + `{"type":"t"}]`,
		"too deep":                      object(`"a":` + strings.Repeat("[", 7) + strings.Repeat("]", 7)),
		"a megabyte of arrays":          strings.Repeat("[", 1<<20),
		"a megabyte of closed arrays":   strings.Repeat("[", 1<<19) + strings.Repeat("]", 1<<19),
		"arrays within the length":      strings.Repeat("[", 2000) + strings.Repeat("]", 2000),
		"too long":                      "[" + strings.Repeat(`{"type":"t","a":"`+strings.Repeat("x", 450)+`"},`, 10) + `{"type":"t"}]`,
		"a long text":                   object(`"a":"` + strings.Repeat("ä", maxDetailText+1) + `"`),
		"a long name":                   object(`"` + strings.Repeat("a", maxDetailText+1) + `":1`),
		"an exponent":                   object(`"a":1e9`),
		"a long number":                 object(`"a":` + strings.Repeat("1", maxDetailNumber+1)),
		"text from right to left":       object(`"a":"\u202E0021 EUR"`),
		"a name from right to left":     object(`"\u2066a":1`),
		"a line break":                  object(`"a":"x\ny"`),
		"NUL":                           object(`"a":"\u0000"`),
	} {
		if got, err := ParseDetails(text); fault.As(err).Code != InvalidAuthorizationDetails {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, text := range []string{
		object(`"a":` + strings.Repeat("[", 6) + strings.Repeat("]", 6)), object(`"a":"` + strings.Repeat("ä", maxDetailText) + `"`), object(`"a":-0.5,"b":null,"c":true`),
		"[" + strings.Repeat(`{"type":"t"},`, maxDetailObjects-1) + `{"type":"t"}]`,
	} {
		details(t, text)
	}
}

// FuzzParseDetails: what is accepted is within the bounds, and the same when it is
// read again, by this reader and by others.
func FuzzParseDetails(f *testing.F) {
	f.Add(paymentDetails)
	f.Add(`[{"type":"t","a":[[1,-0.5,null,true,"\u00e4"]]},{"type":"t"}]`)
	f.Add(`[{"type":"t","type":"u"}]`)
	f.Add(`[{"type":"\ud800"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := ParseDetails(text)
		if err != nil || text == "" {
			return
		}
		if len(parsed) == 0 || len(parsed) > maxDetailObjects || slices.ContainsFunc(parsed, func(d Detail) bool { return d.Type() == "" }) {
			t.Errorf("accepted %s", text)
		}
		var plain Details
		if err := json.Unmarshal([]byte(text), &plain); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plain, parsed); diff != "" {
			t.Error(diff)
		}
		if parsed.beyond(parsed) != nil {
			t.Errorf("it is not within itself: %s", text)
		}
	})
}

// RFC 9396 §6.1, by the rule that less is fewer of what is listed.
func TestDetailsAreCompared(t *testing.T) {
	const granted = `[{"type":"a","actions":["list","read"],"locations":["https://a","https://b"],"identifier":"1","more":{"x":[1,2]}},{"type":"b","datatypes":["x"],"privileges":["admin"]}]`
	a := func(actions, locations, rest string) string {
		return fmt.Sprintf(`{"type":"a","actions":%s,"locations":%s,%s}`, actions, locations, rest)
	}
	const all, list, both, one, rest = `["list","read"]`, `["list"]`, `["https://a","https://b"]`, `["https://b"]`, `"identifier":"1","more":{"x":[1,2]}`
	b := `{"type":"b","datatypes":["x"],"privileges":["admin"]}`
	for _, c := range []struct {
		name, asked string
		within      bool
	}{
		{"the same", granted, true},
		{"one object", `[` + b + `]`, true},
		{"in another order", `[` + b + `,` + a(`["read","list"]`, both, rest) + `]`, true},
		{"fewer actions", `[` + a(list, both, rest) + `]`, true},
		{"fewer locations", `[` + a(all, one, rest) + `]`, true},
		{"more actions", `[` + a(`["list","read","write"]`, both, rest) + `]`, false},
		{"other locations", `[` + a(all, `["https://c"]`, rest) + `]`, false},
		{"no actions, which could be all", `[{"type":"a","locations":["https://a","https://b"],` + rest + `}]`, false},
		{"an empty list, which could be all", `[` + a(`[]`, both, rest) + `]`, false},
		{"another identifier", `[` + a(all, both, `"identifier":"2","more":{"x":[1,2]}`) + `]`, false},
		{"fewer of what need not be less", `[` + a(all, both, `"identifier":"1","more":{"x":[1]}`) + `]`, false},
		{"without a field", `[` + a(all, both, `"identifier":"1"`) + `]`, false},
		{"with another field", `[` + a(all, both, rest+`,"extra":1`) + `]`, false},
		{"another type", `[{"type":"c","datatypes":["x"],"privileges":["admin"]}]`, false},
		{"other privileges", `[{"type":"b","datatypes":["x"],"privileges":["root"]}]`, false},
		{"twice what was granted once", `[` + b + `,` + b + `]`, false},
		{"in two parts", `[` + a(list, both, rest) + `,` + a(`["read"]`, both, rest) + `]`, false},
	} {
		if beyond := details(t, granted).beyond(details(t, c.asked)); (beyond == nil) != c.within {
			t.Errorf("%s: %v is beyond what was granted", c.name, beyond)
		}
	}
	t.Run("whichever stands for which", func(t *testing.T) {
		granted := details(t, `[{"type":"a","actions":["x","y"]},{"type":"a","actions":["x"]}]`)
		for _, asked := range []string{`[{"type":"a","actions":["x"]},{"type":"a","actions":["x","y"]}]`, `[{"type":"a","actions":["x","y"]},{"type":"a","actions":["x"]}]`} {
			if beyond := granted.beyond(details(t, asked)); beyond != nil {
				t.Errorf("%s: %v", asked, beyond)
			}
		}
	})
}

// RFC 9396 §9.1: a token has what is for its audience.
func TestDetailsAreFiltered(t *testing.T) {
	all := details(t, `[{"type":"a","locations":["https://a","https://b"]},{"type":"b","locations":["https://b"]},{"type":"c"}]`)
	for audience, want := range map[string]string{
		"https://a https://b": `[{"locations":["https://a","https://b"],"type":"a"},{"locations":["https://b"],"type":"b"},{"type":"c"}]`,
		"https://a":           `[{"locations":["https://a"],"type":"a"},{"type":"c"}]`,
		"https://c":           `[{"type":"c"}]`,
	} {
		got, err := json.Marshal(all.within(strings.Fields(audience)))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", audience, got, err)
		}
	}
	if len(all[0]["locations"].([]any)) != 2 {
		t.Error("what was granted has changed")
	}
}

func inEveryLanguage(text string) map[string]string {
	return map[string]string{"en": text, "de": text, "fr": text, "es": text}
}

func TestDetailTypesAreClosed(t *testing.T) {
	put := DetailType{Name: "t", Names: inEveryLanguage("T"), Schema: json.RawMessage(`{
		"required": ["amount"],
		"properties": {
			"actions": {"type": "array", "items": {"enum": ["x", "y"]}},
			"amount": {"$ref": "#/$defs/amount"},
			"list": {"type": "array", "items": {"properties": {"a": {"type": "integer"}}}},
			"open": {"type": "object", "additionalProperties": true},
			"bare": {"type": "object"},
			"kind": {"const": "k"},
			"day": {"type": "string", "format": "date"}
		},
		"if": {"required": ["kind"], "properties": {"amount": {"properties": {"currency": {"const": "USD"}}}}},
		"then": {"required": ["day"]},
		"$defs": {"amount": {"type": "object", "required": ["currency"], "properties": {"currency": {"type": "string"}, "value": {"type": "number", "maximum": 100}}}}
	}`)}
	for _, name := range []string{"amount", "list", "open", "bare", "kind", "day"} {
		put.Fields = append(put.Fields, DetailField{Path: name, Labels: inEveryLanguage(name)})
	}
	if err := put.validate(); err != nil {
		t.Fatal(err)
	}
	schema, err := put.compile()
	if err != nil {
		t.Fatal(err)
	}
	for members, want := range map[string]string{
		`"amount":{"currency":"EUR"}`:                                         " ",
		`"amount":{"currency":"EUR","value":99.5}`:                            " ",
		`"amount":{"currency":"EUR","value":100.5}`:                           "amount.value has a value that is not allowed",
		`"amount":{"currency":"EUR","other":1}`:                               "amount.other is not known",
		`"amount":{"currency":1}`:                                             "amount.currency must be of another type",
		`"amount":{}`:                                                         "amount.currency is missing",
		`"list":[]`:                                                           "amount is missing",
		`"amount":{"currency":"EUR"},"other":1`:                               "other is not known",
		`"amount":{"currency":"EUR"},"Amount":{"currency":"EUR"}`:             "Amount is not known",
		`"amount":{"currency":"EUR"},"list":[{"a":1},{"a":1,"b":2}]`:          "list.1.b is not known",
		`"amount":{"currency":"EUR"},"list":[{"a":1.5}]`:                      "list.0.a must be of another type",
		`"amount":{"currency":"EUR"},"open":{"x":1}`:                          " ",
		`"amount":{"currency":"EUR"},"bare":{"x":1}`:                          "bare.x is not known",
		`"amount":{"currency":"EUR"},"actions":["z"]`:                         "actions.0 has a value that is not allowed",
		`"amount":{"currency":"EUR"},"actions":"x"`:                           "actions must be a list of texts",
		`"amount":{"currency":"EUR"},"identifier":"x"`:                        "identifier is not known",
		`"amount":{"currency":"EUR"},"locations":["https://a"]`:               "locations is not known",
		`"amount":{"currency":"EUR"},"kind":"k"`:                              " ",
		`"amount":{"currency":"USD"},"kind":"k"`:                              "day is missing",
		`"amount":{"currency":"USD"},"kind":"k","day":"2026-02-30"`:           "day has a value that is not allowed",
		`"amount":{"currency":"USD"},"kind":"k","day":"2026-02-28"`:           " ",
		`"amount":{"currency":"USD","value":1},"kind":"k","day":"2026-02-28"`: " ",
	} {
		field, why := (&detailType{put, schema}).problem(details(t, `[{"type":"t",`+members+`}]`)[0])
		if got := field + " " + why; got != want {
			t.Errorf("%s: got %q, want %q", members, got, want)
		}
	}
}

func TestDetailTypesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*DetailType)
		field  string
	}{
		"no name":                           {func(d *DetailType) { d.Name = "" }, "type"},
		"RFC 9396 §2.1 a name like another": {func(d *DetailType) { d.Name = "pаyment" }, "type"},
		"a language is missing":             {func(d *DetailType) { delete(d.Names, "fr") }, "name"},
		"a language that there is not":      {func(d *DetailType) { d.Names["it"] = "x" }, "name"},
		"a long name to read":               {func(d *DetailType) { d.Names["en"] = strings.Repeat("x", 101) }, "name"},
		"a name from right to left":         {func(d *DetailType) { d.Names["en"] = "\u202eabc" }, "name"},
		"a schema that is none":             {func(d *DetailType) { d.Schema = json.RawMessage(`{"properties":{"a":{"type":"text"}}}`) }, "schema"},
		"a schema without properties":       {func(d *DetailType) { d.Schema = json.RawMessage(`{}`) }, "schema"},
		"a schema that is a list":           {func(d *DetailType) { d.Schema = json.RawMessage(`[]`) }, "schema"},
		"a schema that is long": {func(d *DetailType) {
			d.Schema = json.RawMessage(`{"properties":{}` + strings.Repeat(" ", maxDetailSchema) + `}`)
		}, "schema"},
		"another schema by its address": {func(d *DetailType) {
			d.Schema = json.RawMessage(`{"properties":{"a":{"$ref":"https://evil.example/schema"}}}`)
		}, "schema"},
		"another schema from a file": {func(d *DetailType) { d.Schema = json.RawMessage(`{"properties":{"a":{"$ref":"file:///etc/passwd"}}}`) }, "schema"},
		"another schema beside it":   {func(d *DetailType) { d.Schema = json.RawMessage(`{"properties":{"a":{"$ref":"other"}}}`) }, "schema"},
		"an older dialect": {func(d *DetailType) {
			d.Schema = json.RawMessage(`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"a":true}}`)
		}, "schema"},
		"an older dialect within": {func(d *DetailType) {
			d.Schema = json.RawMessage(`{"properties":{"a":{"$id":"x","$schema":"http://json-schema.org/draft-07/schema#"}}}`)
		}, "schema"},
		"RFC 9396 §5 an open schema": {func(d *DetailType) {
			d.Schema = json.RawMessage(`{"additionalProperties":true,"properties":{"a":true}}`)
		}, "schema"},
		"RFC 9396 §5 an open schema, by another word": {func(d *DetailType) {
			d.Schema = json.RawMessage(`{"unevaluatedProperties":{},"properties":{"a":true}}`)
		}, "schema"},
		"a pattern that is none":  {func(d *DetailType) { d.Schema = json.RawMessage(`{"properties":{"a":{"pattern":"("}}}`) }, "schema"},
		"a field without a label": {func(d *DetailType) { d.Fields = nil }, "fields"},
		"a label for nothing":     {func(d *DetailType) { d.Fields = append(d.Fields, DetailField{"b", inEveryLanguage("B")}) }, "fields"},
		"a label twice":           {func(d *DetailType) { d.Fields = append(d.Fields, d.Fields[0]) }, "fields"},
		"a label in one language": {func(d *DetailType) { d.Fields[0].Labels = map[string]string{"en": "A"} }, "fields"},
	} {
		d := DetailType{Name: "t", Names: inEveryLanguage("T"), Schema: json.RawMessage(`{"properties":{"a":true,"actions":true}}`), Fields: []DetailField{{"a", inEveryLanguage("A")}}}
		if err := d.validate(); err != nil {
			t.Fatal(err)
		}
		c.change(&d)
		if err := d.validate(); fault.As(err).Kind != fault.Invalid || fault.As(err).Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}
