package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/language"
)

// config is the configuration of one process. Each setting is a key of the YAML
// file (listen), an environment variable (ROLECALL_LISTEN) and a flag
// (--listen); flags win over the environment, the environment over the file.
type config struct {
	// Listen is the address to serve on, host:port.
	Listen string `koanf:"listen"`
	// PublicURL is the address by which browsers and applications reach the
	// instance. It is the issuer of every token: choose it once.
	PublicURL string `koanf:"public_url"`
	// DatabaseURL is sqlite:PATH or postgres://…; by default a file in the
	// user's data folder.
	DatabaseURL string `koanf:"database_url"`
	// MasterKey seals what must be readable again: 32 bytes in base64. Without
	// it and MasterKeyFile one is made and kept beside the SQLite file.
	MasterKey string `koanf:"master_key"`
	// MasterKeyFile is a file that holds the master key.
	MasterKeyFile string `koanf:"master_key_file"`
	// SMTPURL is where mail goes, smtp://… or smtps://…; without it mails stay
	// in the outbox.
	SMTPURL string `koanf:"smtp_url"`
	// TLSCertFile and TLSKeyFile make the server speak TLS itself.
	TLSCertFile string `koanf:"tls_cert_file"`
	TLSKeyFile  string `koanf:"tls_key_file"`
	// MetricsListen is the address that serves /metrics, and nothing else.
	MetricsListen string `koanf:"metrics_listen"`
	// OutboundPrivate lets tenants push to servers that are not on the public
	// Internet: true or false.
	OutboundPrivate string `koanf:"outbound_private"`
	// Argon2Memory, in KiB, and Argon2Passes are what a password hash costs.
	Argon2Memory string `koanf:"argon2_memory"`
	Argon2Passes string `koanf:"argon2_passes"`
	// PasswordsAtOnce and PasswordsWaiting bound how many password hashes are
	// computed at once, and wait for it. Empty: the server's choice.
	PasswordsAtOnce  string `koanf:"passwords_at_once"`
	PasswordsWaiting string `koanf:"passwords_waiting"`
	// Language is the one of pages and mails for people of whom none is known.
	Language string `koanf:"language"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `koanf:"log_level"`
	// LogFormat is text or json.
	LogFormat string `koanf:"log_format"`
}

const envPrefix = "ROLECALL_"

// settings are the keys with what they mean and their defaults.
func settings() map[string]setting {
	return map[string]setting{
		"listen":            {"127.0.0.1:8080", "address to serve on"},
		"public_url":        {"http://localhost:8080", "address by which browsers reach the instance; the issuer"},
		"database_url":      {"", "sqlite:PATH or postgres://… (default: a file in the user's data folder)"},
		"master_key":        {"", "32 bytes in base64 that seal keys and secrets"},
		"master_key_file":   {"", "file that holds the master key"},
		"smtp_url":          {"", "where mail goes"},
		"tls_cert_file":     {"", "certificate, to serve TLS"},
		"tls_key_file":      {"", "key of the certificate"},
		"metrics_listen":    {"", "address that serves /metrics"},
		"outbound_private":  {"false", "whether tenants may push to, applications be told of a logout at, and their keys be fetched from, private addresses: true or false"},
		"argon2_memory":     {"19456", "KiB of memory that a password hash takes"},
		"argon2_passes":     {"2", "passes over the memory of a password hash"},
		"passwords_at_once": {"", "password hashes computed at once (default: one per processor)"},
		"passwords_waiting": {"256", "password hashes that wait for their turn; more are answered 503"},
		"language":          {language.Default, "language of pages and mails for people of whom none is known: en, de, fr or es"},
		"log_level":         {"info", "debug, info, warn or error"},
		"log_format":        {"text", "text or json"},
	}
}

type setting struct{ preset, about string }

// addConfigFlags adds --config and a flag for each setting.
func addConfigFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "YAML file with settings")
	all := settings()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if key == "master_key" {
			continue // a secret on a command line is everybody's
		}
		s := all[key]
		flags.String(strings.ReplaceAll(key, "_", "-"), s.preset, s.about+"; "+envPrefix+strings.ToUpper(key))
	}
}

// loadConfig reads flags, environment and file. It reports all unknown keys at
// once, each with the nearest known one.
func loadConfig(flags *pflag.FlagSet, environ []string) (*config, error) {
	known := settings()
	k := koanf.New(".")
	presets := map[string]any{}
	for key, s := range known {
		presets[key] = s.preset
	}
	if err := k.Load(confmap.Provider(presets, ""), nil); err != nil {
		return nil, err
	}
	if path, _ := flags.GetString("config"); path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return nil, fmt.Errorf("configuration file %s: %w", path, err)
		}
	}
	var problems []error
	for _, key := range k.Keys() {
		if _, ok := known[key]; !ok {
			problems = append(problems, fmt.Errorf("configuration file: %w", unknownKey(key, slices.Collect(maps.Keys(known)))))
		}
	}
	fromEnv, err := environment(environ, known)
	if err = errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	given := map[string]any{}
	flags.Visit(func(f *pflag.Flag) {
		if key := strings.ReplaceAll(f.Name, "-", "_"); known[key] != (setting{}) {
			given[key] = f.Value.String()
		}
	})
	for _, layer := range []map[string]any{fromEnv, given} {
		if err := k.Load(confmap.Provider(layer, ""), nil); err != nil {
			return nil, err
		}
	}
	c := &config{}
	if err := k.Unmarshal("", c); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return c, c.validate()
}

// environment returns the settings among the variables. An unknown ROLECALL_
// variable is an error, because a misspelled one would be ignored in silence.
func environment(environ []string, known map[string]setting) (map[string]any, error) {
	names := make([]string, 0, len(known))
	for key := range known {
		names = append(names, envPrefix+strings.ToUpper(key))
	}
	values := map[string]any{}
	var problems []error
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		if !slices.Contains(names, name) {
			problems = append(problems, fmt.Errorf("environment: %w", unknownKey(name, names)))
			continue
		}
		values[strings.ToLower(strings.TrimPrefix(name, envPrefix))] = value
	}
	return values, errors.Join(problems...)
}

// unknownKey says that a key is not known and which one may have been meant.
func unknownKey(key string, known []string) error {
	slices.Sort(known)
	nearest, least := "", len(key)
	for _, candidate := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(key), strings.ToLower(candidate)); d < least {
			nearest, least = candidate, d
		}
	}
	if nearest == "" || least > 1+len(key)/2 {
		return fmt.Errorf("unknown key %q; known are %s", key, strings.Join(known, ", "))
	}
	return fmt.Errorf("unknown key %q; did you mean %q?", key, nearest)
}

// validate reports all problems of the values.
func (c *config) validate() error {
	var problems []error
	report := func(key, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		report("listen", "%q is not host:port", c.Listen)
	}
	if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		report("public_url", "%q is not an http(s) address without query and fragment", c.PublicURL)
	} else if u.Path != "" {
		report("public_url", "%q must be scheme and host only, without a slash at the end", c.PublicURL)
	}
	if c.MasterKey != "" && c.MasterKeyFile != "" {
		report("master_key", "give either master_key or master_key_file")
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		report("tls_cert_file", "tls_cert_file and tls_key_file go together")
	}
	if _, err := c.logLevel(); err != nil {
		report("log_level", "%q is not one of debug, info, warn, error", c.LogLevel)
	}
	if _, err := strconv.ParseBool(c.OutboundPrivate); c.OutboundPrivate != "" && err != nil {
		report("outbound_private", "%q is not true or false", c.OutboundPrivate)
	}
	if !language.Known(c.Language) {
		report("language", "%q is not one of en, de, fr, es", c.Language)
	}
	if _, err := c.hashing(); err != nil {
		problems = append(problems, err)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		report("log_format", "%q is not one of text, json", c.LogFormat)
	}
	return errors.Join(problems...)
}

// hashing is the cost of password hashes. It fails for what is below OWASP's
// recommendation, or above what a server can do.
func (c *config) hashing() (authn.Hashing, error) {
	var h authn.Hashing
	var problems []error
	number := func(key, text string, least, most uint64) uint64 {
		n, err := strconv.ParseUint(text, 10, 32)
		if text != "" && (err != nil || n < least || n > most) {
			problems = append(problems, fmt.Errorf("%s: %q is not a number from %d to %d", key, text, least, most))
		}
		return n
	}
	h.Memory = uint32(number("argon2_memory", c.Argon2Memory, 7*1024, 1<<20))  //nolint:gosec // bounded
	h.Passes = uint32(number("argon2_passes", c.Argon2Passes, 1, 64))          //nolint:gosec // bounded
	h.Parallel = int(number("passwords_at_once", c.PasswordsAtOnce, 1, 1024))  //nolint:gosec // bounded
	h.Queue = int(number("passwords_waiting", c.PasswordsWaiting, 1, 100_000)) //nolint:gosec // bounded
	return h, errors.Join(problems...)
}

// private reports whether tenants may push to servers at private addresses. On a
// developer's machine everything is at a loopback address.
func (c *config) private() bool {
	allowed, err := strconv.ParseBool(c.OutboundPrivate)
	u, parseErr := url.Parse(c.PublicURL)
	if err == nil && allowed || parseErr != nil || u.Scheme != "http" {
		return err == nil && allowed
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

func (c *config) logLevel() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(c.LogLevel))
	return level, err
}

// logHandler writes logs in the configured format.
func (c *config) logHandler(w io.Writer, level slog.Level) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// database returns the database's address: the configured one, or a file in the
// user's data folder (XDG Base Directory Specification), which is made.
func (c *config) database() (string, error) {
	if c.DatabaseURL != "" {
		return c.DatabaseURL, nil
	}
	folder, err := dataFolder()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	return "sqlite:" + filepath.Join(folder, "rolecall.db"), nil
}

// existingDatabase returns the database's address, or "" if it is a file that
// has yet to be made.
func (c *config) existingDatabase() (string, error) {
	address := c.DatabaseURL
	if address == "" {
		folder, err := dataFolder()
		if err != nil {
			return "", err
		}
		address = "sqlite:" + filepath.Join(folder, "rolecall.db")
	}
	if path, embedded := strings.CutPrefix(address, "sqlite:"); embedded {
		if _, err := os.Stat(path); err != nil {
			return "", nil //nolint:nilerr // whoever needs the file says what is wrong with it
		}
	}
	return address, nil
}

// dataFolder is where the user's data is (XDG Base Directory Specification).
func dataFolder() (string, error) {
	data := os.Getenv("XDG_DATA_HOME")
	if data == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("database_url is not set and there is no home folder: %w", err)
		}
		data = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(data, "rolecall"), nil
}

// secure reports whether browsers come over TLS.
func (c *config) secure() bool { return strings.HasPrefix(c.PublicURL, "https://") }
