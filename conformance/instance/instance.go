// Package instance runs the server under test: the built program as a process,
// on SQLite or PostgreSQL. It knows the commands, the environment and the
// addresses that the program promises, and nothing of what is inside.
//
// The program is built once in a test process, or taken from the file that
// TEST_ROLECALL_BINARY names, unless it is to be built in some other way.
package instance

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout bounds how long a server may take to its first answer. It takes
// well under a second; the rest is for a machine that compiles meanwhile.
const startTimeout = 30 * time.Second

// stopTimeout bounds how long a server may take to end after SIGTERM.
const stopTimeout = 15 * time.Second

// Build compiles the program into dir, with build tags if it is to have some,
// and returns its path.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	if binary := os.Getenv("TEST_ROLECALL_BINARY"); binary != "" && len(tags) == 0 {
		return filepath.Abs(binary)
	}
	binary := filepath.Join(dir, "rolecall")
	build := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", binary, "github.com/rolecall/rolecall/cmd/rolecall") //nolint:gosec // a path of our own
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return binary, nil
}

// An Instance is one deployment: a database, a public URL and, between Serve
// and Stop, a process.
type Instance struct {
	URL      string // the public URL and issuer, without a slash at its end
	Database string // the value of ROLECALL_DATABASE_URL
	binary   string
	dir      string
	address  string
	env      []string

	trusted *x509.CertPool // of a server with TLS

	process *exec.Cmd
	exited  chan error
	log     *log
}

// New returns an instance that listens on a free port of 127.0.0.1. Its files
// are made in dir. An empty database is SQLite in dir; env are further
// variables, NAME=value.
func New(binary, dir, database string, env ...string) (*Instance, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	if database == "" {
		database = "sqlite:" + filepath.Join(dir, "rolecall.db")
	}
	i := &Instance{
		URL: "http://" + address, Database: database,
		binary: binary, dir: dir, address: address, log: &log{},
	}
	// The key is fixed, as PostgreSQL has no folder beside it to keep one in.
	i.env = append([]string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"),
		"ROLECALL_LISTEN=" + address,
		"ROLECALL_PUBLIC_URL=" + i.URL,
		"ROLECALL_DATABASE_URL=" + database,
		"ROLECALL_MASTER_KEY=Y29uZm9ybWFuY2UgdGVzdHMgb25seSwgMzIgYnl0ZXM=",
	}, env...)
	return i, nil
}

// Secure has the server speak TLS with a certificate that it makes for its
// address, and returns who trusts it. It is to be called before Serve.
func (i *Instance) Secure() (*x509.CertPool, error) {
	certificate, key := filepath.Join(i.dir, "tls.crt"), filepath.Join(i.dir, "tls.key")
	der, err := selfSigned(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	i.trusted = x509.NewCertPool()
	i.trusted.AddCert(der)
	i.URL = "https://" + i.address
	i.env = append(i.env, "ROLECALL_PUBLIC_URL="+i.URL, "ROLECALL_TLS_CERT_FILE="+certificate, "ROLECALL_TLS_KEY_FILE="+key)
	return i.trusted, nil
}

// Postgres reports whether the instance's database is PostgreSQL.
func (i *Instance) Postgres() bool { return strings.HasPrefix(i.Database, "postgres") }

// A Result is how a command ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs `rolecall args...` to its end, with stdin as its input.
func (i *Instance) Run(ctx context.Context, stdin string, args ...string) (Result, error) {
	command := i.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := command.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		return Result{}, fmt.Errorf("rolecall %s: %w", strings.Join(args, " "), err)
	}
	return Result{Code: command.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}, nil
}

func (i *Instance) command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, i.binary, args...) //nolint:gosec // the program under test
	command.Dir, command.Env = i.dir, slices.Clone(i.env)
	return command
}

// Must runs a command and makes a status other than 0 an error.
func (i *Instance) Must(ctx context.Context, args ...string) (Result, error) {
	result, err := i.Run(ctx, "", args...)
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("rolecall %s: status %d\n%s%s", strings.Join(args, " "), result.Code, result.Stdout, result.Stderr)
	}
	return result, err
}

// Migrate makes the tables of an empty PostgreSQL database. SQLite's are made
// by the commands that need them.
func (i *Instance) Migrate(ctx context.Context) error {
	if !i.Postgres() {
		return nil
	}
	_, err := i.Must(ctx, "migrate", "up")
	return err
}

// ApplyFile writes file beside the database and returns its path.
func (i *Instance) ApplyFile(file string) (path string, err error) {
	path = filepath.Join(i.dir, "apply.yaml")
	return path, os.WriteFile(path, []byte(file), 0o600)
}

// Apply makes the instance hold what file says.
func (i *Instance) Apply(ctx context.Context, file string) (Result, error) {
	path, err := i.ApplyFile(file)
	if err != nil {
		return Result{}, err
	}
	return i.Must(ctx, "apply", "-f", path)
}

// discovery is where OpenID providers publish their metadata.
const discovery = "/.well-known/openid-configuration"

// Serve starts the server and returns how long it took from the start of the
// process to the first discovery document.
func (i *Instance) Serve(ctx context.Context) (time.Duration, error) {
	i.log.reset()
	// The server outlives ctx, which bounds its start.
	i.process = i.command(context.WithoutCancel(ctx), "serve")
	i.process.Stdout, i.process.Stderr = i.log, i.log
	started := time.Now()
	if err := i.process.Start(); err != nil {
		return 0, fmt.Errorf("start the server: %w", err)
	}
	process, exited := i.process, make(chan error, 1)
	go func() { exited <- process.Wait() }()
	i.exited = exited
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: i.trusted, MinVersion: tls.VersionTLS12},
	}}
	for {
		if answers(ctx, client, i.URL+discovery) {
			return time.Since(started), nil
		}
		select {
		case err := <-exited:
			i.exited = nil
			return 0, fmt.Errorf("the server ended while it started: %w\n%s", err, i.Log())
		case <-ctx.Done():
			return 0, errors.Join(fmt.Errorf("the server does not answer: %w\n%s", ctx.Err(), i.Log()), i.Stop())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close()) == nil && response.StatusCode == http.StatusOK
}

// Stop asks the server to end and waits for it. It fails if the server does not
// end by itself, or not with status 0. Without a server it does nothing.
func (i *Instance) Stop() error {
	if i.exited == nil {
		return nil
	}
	exited := i.exited
	i.exited = nil
	if err := i.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case err := <-exited:
		if err != nil {
			return fmt.Errorf("the server's end: %w\n%s", err, i.Log())
		}
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(errors.New("the server did not end after SIGTERM"), i.process.Process.Kill(), <-exited)
	}
}

// Address is where the server listens, which its public URL may not be where
// another server stands for it.
func (i *Instance) Address() string { return "http://" + i.address }

// PID is the process id of the running server.
func (i *Instance) PID() int { return i.process.Process.Pid }

// Log is what the server wrote since it was started.
func (i *Instance) Log() string { return i.log.String() }

// log collects what a process writes while others read it.
type log struct {
	mu     sync.Mutex // guards buffer
	buffer bytes.Buffer
}

// Write implements io.Writer.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

func (l *log) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buffer.Reset()
}
