package authz_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rolecall/rolecall/authz/scenario"
)

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.yaml")
	if err != nil || len(files) != 6 {
		t.Fatalf("got the files %v (%v), want one for each shipped blueprint", files, err)
	}
	catalog := shipped(t)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		suites, err := scenario.Parse(source)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, suite := range suites {
			results, err := scenario.Run(suite, catalog)
			if err != nil {
				t.Fatalf("%s: %s: %v", file, suite.Name, err)
			}
			for _, r := range results {
				t.Run(suite.Name+"/"+r.ID, func(t *testing.T) {
					if !r.Passed() {
						t.Errorf("%s:%d: got %t %s, want %t %s", file, r.Line, r.Got, r.GotCode, r.Then, r.Code)
					}
				})
			}
		}
	}
}
