// Package deploy holds what Rolecall is installed with. Its tests check as much
// of that as can be checked without a container engine: that the files say what
// their formats allow, name only what exists, and that the script which makes the
// secrets does.
package deploy

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"
)

func TestOnlyKnownVariablesAreSet(t *testing.T) {
	var variables []string
	keys := regexp.MustCompile("koanf:\"([a-z_]+)\"")
	for _, key := range keys.FindAllStringSubmatch(read(t, "../cmd/rolecall/config.go"), -1) {
		variables = append(variables, "ROLECALL_"+strings.ToUpper(key[1]))
	}
	name := regexp.MustCompile(`ROLECALL_[A-Z_]+`)
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(file, ".go") {
			return err
		}
		for _, variable := range name.FindAllString(read(t, file), -1) {
			if !slices.Contains(variables, variable) {
				t.Errorf("%s sets %s, which Rolecall does not read", file, variable)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// instruction is one line of a Dockerfile, its continuations joined.
type instruction struct{ name, arguments string }

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	var all []instruction
	text := strings.ReplaceAll(read(t, "docker/Dockerfile"), "\\\n", " ")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, arguments, _ := strings.Cut(line, " ")
		all = append(all, instruction{name, strings.TrimSpace(arguments)})
	}
	return all
}

func TestDockerfileCopiesWhatExists(t *testing.T) {
	stages := map[string]bool{}
	for _, step := range dockerfile(t) {
		words := strings.Fields(step.arguments)
		switch step.name {
		case "FROM":
			if i := slices.Index(words, "AS"); i > 0 {
				stages[words[i+1]] = true
			}
			image := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.HasPrefix(w, "--") })[0]
			if image != "scratch" && (!strings.Contains(image, ":") || strings.HasSuffix(image, ":latest")) {
				t.Errorf("FROM %s names no version", image)
			}
		case "COPY":
			stage := ""
			for len(words) > 0 && strings.HasPrefix(words[0], "--") {
				if from, ok := strings.CutPrefix(words[0], "--from="); ok {
					stage = from
				}
				words = words[1:]
			}
			if stage != "" {
				if !stages[stage] {
					t.Errorf("COPY takes from the unknown stage %s", stage)
				}
				continue
			}
			for _, source := range words[:len(words)-1] {
				if _, err := os.Stat(filepath.Join("..", source)); err != nil {
					t.Errorf("COPY: %v", err)
				}
			}
		}
	}
}

// final returns the instructions of the last stage, the last of each name.
func final(t *testing.T) map[string]string {
	t.Helper()
	var stage map[string]string
	for _, step := range dockerfile(t) {
		if step.name == "FROM" {
			stage = map[string]string{}
		}
		stage[step.name] = step.arguments
	}
	return stage
}

func TestImageRunsUnprivilegedAndStatic(t *testing.T) {
	image := final(t)
	static := slices.ContainsFunc(dockerfile(t), func(step instruction) bool {
		return step.name == "ENV" && strings.Contains(step.arguments, "CGO_ENABLED=0")
	})
	for name, want := range map[string]string{
		"FROM":       "scratch",
		"USER":       "65532:65532", // by number: the image has no /etc/passwd
		"VOLUME":     "/data",
		"ENTRYPOINT": `["/rolecall"]`,
		"CMD":        `["serve"]`,
	} {
		if image[name] != want {
			t.Errorf("%s: got %s, want %s", name, image[name], want)
		}
	}
	if !strings.HasSuffix(image["HEALTHCHECK"], `CMD ["/rolecall", "healthcheck"]`) {
		t.Errorf("HEALTHCHECK: got %s, want the program itself, as the image has no shell", image["HEALTHCHECK"])
	}
	if !static {
		t.Error("the build does not set CGO_ENABLED=0, so that the program needs a C library that the image has not")
	}
}

// composition is what the compose files use of the Compose specification.
type composition struct {
	Name     string             `yaml:"name"`
	Shared   service            `yaml:"x-rolecall"`
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

type service struct {
	Image       string            `yaml:"image"`
	Build       *build            `yaml:"build"`
	Environment map[string]string `yaml:"environment"`
	Command     []string          `yaml:"command"`
	Entrypoint  []string          `yaml:"entrypoint"`
	WorkingDir  string            `yaml:"working_dir"`
	NetworkMode string            `yaml:"network_mode"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	Healthcheck *healthcheck      `yaml:"healthcheck"`
	Restart     string            `yaml:"restart"`
	StopGrace   string            `yaml:"stop_grace_period"`
	DependsOn   map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
}

type build struct {
	Context    string `yaml:"context"`
	Dockerfile string `yaml:"dockerfile"`
}

type healthcheck struct {
	Test     []string `yaml:"test"`
	Interval string   `yaml:"interval"`
	Timeout  string   `yaml:"timeout"`
	Retries  int      `yaml:"retries"`
}

func compositions(t *testing.T) map[string]composition {
	t.Helper()
	files, err := filepath.Glob("compose/*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("got %v and %v, want the two compose files", files, err)
	}
	all := map[string]composition{}
	for _, file := range files {
		decoder := yaml.NewDecoder(strings.NewReader(read(t, file)))
		decoder.KnownFields(true)
		var c composition
		if err := decoder.Decode(&c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[file] = c
	}
	return all
}

func TestComposeNamesWhatExists(t *testing.T) {
	for file, c := range compositions(t) {
		for name, s := range c.Services {
			if s.Build != nil {
				path := filepath.Join(filepath.Dir(file), s.Build.Context, s.Build.Dockerfile)
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s: %s: %v", file, name, err)
				}
			}
			for _, volume := range s.Volumes {
				volume, _, _ = strings.Cut(volume, ":")
				if _, declared := c.Volumes[volume]; !declared {
					t.Errorf("%s: %s mounts %s, which is no volume of the file", file, name, volume)
				}
			}
			for other, on := range s.DependsOn {
				needed, exists := c.Services[other]
				switch {
				case !exists:
					t.Errorf("%s: %s depends on %s, which does not exist", file, name, other)
				case on.Condition == "service_healthy" && needed.Healthcheck == nil:
					t.Errorf("%s: %s waits for the health of %s, which has no check", file, name, other)
				case on.Condition == "service_completed_successfully" && needed.Restart != "":
					t.Errorf("%s: %s waits for the end of %s, which restarts", file, name, other)
				}
			}
		}
	}
}

func TestComposeComesUpUnedited(t *testing.T) {
	for file, c := range compositions(t) {
		if strings.Contains(strings.ReplaceAll(read(t, file), "$$", ""), "$") {
			t.Errorf("%s takes a variable that somebody has to set first", file)
		}
		rolecall := c.Services["rolecall"]
		if !rolecall.ReadOnly || !slices.Equal(rolecall.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: the server runs with more rights than it needs", file)
		}
		for name, s := range c.Services {
			for _, port := range s.Ports {
				if !strings.HasPrefix(port, "127.0.0.1:") {
					t.Errorf("%s: %s offers plain HTTP to the network at %s", file, name, port)
				}
			}
		}
	}
}

// TestComposeMakesItsSecretsOnce runs the script of the service "secrets", and
// reads the password the way the server does.
func TestComposeMakesItsSecretsOnce(t *testing.T) {
	c := compositions(t)["compose/compose.postgres.yaml"]
	secrets := c.Services["secrets"]
	dir, programs := t.TempDir(), t.TempDir()
	// The test has neither the users nor the right.
	if err := os.WriteFile(filepath.Join(programs, "chown"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func() map[string]string {
		args := append(slices.Clone(secrets.Entrypoint[1:]), strings.ReplaceAll(secrets.Command[0], "$$", "$"))
		cmd := exec.CommandContext(t.Context(), secrets.Entrypoint[0], args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + programs + ":" + os.Getenv("PATH")}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		files := map[string]string{}
		for _, name := range []string{"master.key", "postgres.password", "rolecall.pgpass"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s: got mode %v, want only its owner to read it", name, info.Mode())
			}
			files[name] = read(t, filepath.Join(dir, name))
		}
		return files
	}
	first, second := run(), run()
	if !maps.Equal(first, second) {
		t.Error("a second start made other secrets: the database would be unreadable")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(first["master.key"]))
	if err != nil || len(key) != 32 {
		t.Errorf("the master key: got %d bytes and %v, want 32", len(key), err)
	}
	databaseURL := c.Services["rolecall"].Environment["ROLECALL_DATABASE_URL"]
	config, err := pgx.ParseConfig(strings.Replace(databaseURL, secrets.WorkingDir, dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	if config.Password != first["postgres.password"] || len(config.Password) < 30 {
		t.Error("the server would not find the password that the database has")
	}
}

func TestSystemdUnitVerifies(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	// It insists on a program that exists.
	unit := strings.ReplaceAll(read(t, "systemd/rolecall.service"), "/usr/local/bin/rolecall", "/bin/true")
	path := filepath.Join(t.TempDir(), "rolecall.service")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", path).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
