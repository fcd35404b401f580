package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func load(t *testing.T, file string, environ []string, args ...string) (*config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addConfigFlags(flags)
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return loadConfig(flags, environ)
}

func TestConfigFlagsWinOverEnvironmentOverFile(t *testing.T) {
	c, err := load(t, "listen: 127.0.0.1:1\nlog_level: warn\npublic_url: https://file.example\n",
		[]string{"ROLECALL_LISTEN=127.0.0.1:2", "ROLECALL_LOG_LEVEL=error", "HOME=/"}, "--listen", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3" || c.LogLevel != "error" || c.PublicURL != "https://file.example" || c.LogFormat != "text" {
		t.Errorf("got %+v", c)
	}
}

func TestConfigRefuses(t *testing.T) {
	tests := []struct {
		name, file string
		environ    []string
		args       []string
		want       []string
	}{
		{"unknown key of the file, naming the nearest", "lisen: 127.0.0.1:1\n", nil, nil, []string{`"lisen"`, `did you mean "listen"`}},
		{"unknown variable, naming the nearest", "", []string{"ROLECALL_DATABSE_URL=sqlite:x"}, nil, []string{"ROLECALL_DATABSE_URL", `did you mean "ROLECALL_DATABASE_URL"`}},
		{"several unknown keys at once", "lisen: a\nlog_levl: b\n", []string{"ROLECALL_X_Y_Z=1"}, nil, []string{"lisen", "log_levl", "ROLECALL_X_Y_Z"}},
		{"a public URL with a slash", "", nil, []string{"--public-url", "https://id.example/"}, []string{"public_url", "without a slash"}},
		{"a public URL that is none", "", nil, []string{"--public-url", "id.example"}, []string{"public_url"}},
		{"all wrong values at once", "", nil, []string{"--listen", "8080", "--log-level", "loud", "--log-format", "xml"}, []string{"listen", "log_level", "log_format"}},
		{"a certificate without its key", "", nil, []string{"--tls-cert-file", "x"}, []string{"tls_key_file"}},
		{"two master keys", "", []string{"ROLECALL_MASTER_KEY=a", "ROLECALL_MASTER_KEY_FILE=b"}, nil, []string{"master_key"}},
		{"a file that is no YAML", "{", nil, nil, []string{"configuration file"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.file, test.environ, test.args...)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %q", err, want)
				}
			}
		})
	}
}

func TestMasterKeyIsMadeOnceBesideTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rolecall.db")
	first, err := openKeyring(&config{}, "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := openKeyring(&config{}, "sqlite:"+path)
	if err != nil || first.ID() != second.ID() {
		t.Errorf("the second start has another key (%v)", err)
	}
	info, err := os.Stat(path + ".key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v; want mode 0600", info, err)
	}
	if _, err := openKeyring(&config{}, "postgres://localhost/x"); err == nil || !strings.Contains(err.Error(), "ROLECALL_MASTER_KEY") {
		t.Errorf("PostgreSQL without a master key: %v", err)
	}
}

func TestReferenceNamesEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for key, s := range settings() {
		for _, want := range []string{"`" + key + "`", s.preset} {
			if !strings.Contains(string(text), want) {
				t.Errorf("docs/reference/configuration.md lacks %s", want)
			}
		}
	}
}
