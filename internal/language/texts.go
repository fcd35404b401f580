package language

import (
	"encoding/json"
	"fmt"
	"io/fs"
)

// Texts are the words of one language by their keys. Values may hold the verbs of
// package fmt.
type Texts map[string]string

// Load reads the words of every language, from locales/TAG.json, and returns them
// by its tag. A language without words is an error.
func Load(files fs.FS) (map[string]Texts, error) {
	all := map[string]Texts{}
	for _, l := range All() {
		content, err := fs.ReadFile(files, "locales/"+l.Tag+".json")
		if err != nil {
			return nil, fmt.Errorf("texts: %w", err)
		}
		var texts Texts
		if err := json.Unmarshal(content, &texts); err != nil {
			return nil, fmt.Errorf("texts of %q: %w", l.Tag, err)
		}
		all[l.Tag] = texts
	}
	return all, nil
}

// Say returns the text of a key with what it speaks of. It fails where there is
// none, so that a missing text is seen and not an empty line of a page.
func (t Texts) Say(key string, args ...any) (string, error) {
	text, ok := t[key]
	if !ok {
		return "", fmt.Errorf("no text %q", key)
	}
	if len(args) == 0 {
		return text, nil
	}
	return fmt.Sprintf(text, args...), nil
}
