package language_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rolecall/rolecall/internal/language"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	for _, l := range language.All() {
		files["locales/"+l.Tag+".json"] = &fstest.MapFile{Data: []byte(`{"hello": "` + l.Name + `: %s", "share": "100 %"}`)}
	}
	texts, err := language.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := texts["de"].Say("hello", "Ann"); err != nil || got != "Deutsch: Ann" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := texts["de"].Say("share"); err != nil || got != "100 %" {
		t.Errorf("a text without arguments is changed: %q, %v", got, err)
	}
	if _, err := texts["de"].Say("bye"); err == nil || !strings.Contains(err.Error(), `"bye"`) {
		t.Errorf("a missing text: %v, want an error that names it", err)
	}

	files["locales/fr.json"] = &fstest.MapFile{Data: []byte(`{`)}
	if _, err := language.Load(files); err == nil || !strings.Contains(err.Error(), `"fr"`) {
		t.Errorf("texts that can't be read: %v, want an error that names the language", err)
	}
	delete(files, "locales/fr.json")
	if _, err := language.Load(files); err == nil {
		t.Error("a language has no texts, and nobody says so")
	}
}
