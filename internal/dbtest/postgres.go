//go:build unix

package dbtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// binVariable names the environment variable that picks one of several
// installed PostgreSQL versions: the folder that holds initdb and postgres. It
// is not called ROLECALL_…, as the program under test refuses those it doesn't
// know.
const binVariable = "TEST_POSTGRES_BIN"

// startTimeout bounds initdb and start-up together. They take about a second;
// the rest is for a machine that compiles at the same time.
const startTimeout = 2 * time.Minute

// The two roles of a server. Code under test gets the ordinary one, so that a
// migration that only a superuser can run fails here and not at a customer's.
const (
	superuser = "postgres"
	appRole   = "rolecall"
)

// supervisor is the parent of a PostgreSQL server. It holds the read end of a
// pipe from this process: when the other end closes, by Stop or because this
// process is gone (even by SIGKILL), it stops the server and removes its files.
// A TestMain in every package could not do the latter.
const supervisor = `
dir=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ read -r _; kill -QUIT "$server"; } <&3 2>/dev/null &
wait "$server"
code=$?
rm -rf "$dir"
exit "$code"
`

// Options say how a [Server] is set up. The zero value is what tests want.
type Options struct {
	// Durable keeps PostgreSQL's own defaults for fsync, synchronous_commit
	// and full_page_writes. Without it a commit waits for no disk.
	Durable bool
	// Dir is the folder in which the server's files are made. Empty is the
	// system's temporary folder or, unless Durable, memory where there is
	// enough: databases are then made in a fifth of the time.
	Dir string
	// Settings are further parameters of postgresql.conf, by name.
	Settings map[string]string
}

// Server is a running PostgreSQL server of this process's own, on 127.0.0.1.
type Server struct {
	address string // host:port
	dir     string // all its files
	secret  string // the password of both roles
	lifetime
}

// lifetime is the supervisor of a server.
type lifetime struct {
	stdin  io.Closer     // closing it stops the server
	exited chan struct{} // closed once the server is gone
	log    *os.File      // what the server wrote; has no name any more
}

// StartPostgres starts a PostgreSQL server from the programs installed on this
// machine. It listens on a free port of 127.0.0.1 with a random password, and
// lives until Stop or the end of this process. ctx bounds the start only.
//
// PostgreSQL refuses to run as root, so that root runs it as the system user
// postgres, or nobody where there is none.
func StartPostgres(ctx context.Context, options Options) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		server, err := start(ctx, options)
		// Between the choice of a free port and the server's use of it,
		// another process may take it.
		if err != nil && errors.Is(err, errPortTaken) && ctx.Err() == nil {
			continue
		}
		return server, err
	}
}

var errPortTaken = errors.New("the port was taken meanwhile")

func start(ctx context.Context, options Options) (_ *Server, err error) {
	bin, err := findBin()
	if err != nil {
		return nil, err
	}
	credential, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := makeDir(options, credential)
	if err != nil {
		return nil, fmt.Errorf("make a folder for PostgreSQL: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	s := &Server{dir: dir, secret: rand.Text()}
	if err := s.initdb(ctx, bin, credential); err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := s.launch(bin, credential, settings(options, dir, port)); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// initdb makes the data folder. Text sorts and folds by the rules of a language,
// as in most installations, and not by bytes as in SQLite: a query that depends
// on one of them shall show.
func (s *Server) initdb(ctx context.Context, bin string, credential *syscall.Credential) error {
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(s.secret), 0o600); err != nil {
		return fmt.Errorf("write the superuser's password: %w", err)
	}
	if err := chown(password, credential); err != nil {
		return fmt.Errorf("give the password file to PostgreSQL's user: %w", err)
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), //nolint:gosec // a program that the developer installed
		"--pgdata", filepath.Join(s.dir, "data"), "--username", superuser, "--pwfile", password,
		"--auth", "scram-sha-256", "--no-sync",
		"--encoding", "UTF8", "--locale", "C", "--locale-provider", "icu", "--icu-locale", "en-US")
	initdb.Dir = s.dir
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// settings are the server's command line arguments.
func settings(options Options, dir string, port int) []string {
	parameters := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": dir,
		"max_connections":         "300", // many tests in parallel, a pool each
		"log_destination":         "stderr",
		"timezone":                "America/St_Johns", // a wrong assumption of UTC shall show
	}
	if !options.Durable {
		maps.Copy(parameters, map[string]string{
			"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
			"max_wal_size": "256MB", // a quarter of the default: several servers share the folder
		})
	}
	maps.Copy(parameters, options.Settings)
	args := []string{"-D", filepath.Join(dir, "data")}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		args = append(args, "-c", name+"="+parameters[name])
	}
	return args
}

// launch starts the supervisor with the server below it.
func (s *Server) launch(bin string, credential *syscall.Credential, args []string) error {
	log, err := os.CreateTemp("", "rolecall-postgres-*.log")
	if err != nil {
		return fmt.Errorf("make PostgreSQL's log: %w", err)
	}
	// Only this process reads it, so that it needs no name and leaves no file.
	if err := os.Remove(log.Name()); err != nil {
		return fmt.Errorf("unlink PostgreSQL's log: %w", err)
	}
	args = append([]string{"-c", supervisor, "supervisor", s.dir, filepath.Join(bin, "postgres")}, args...)
	// Not CommandContext: the server outlives the context of its start.
	sh := exec.Command("/bin/sh", args...) //nolint:gosec,noctx // see above
	sh.Dir = "/"
	sh.Stdout, sh.Stderr = log, log
	// A process group of its own keeps the terminal's Ctrl-C from it: the
	// server stops after the tests that use it.
	sh.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true}
	stdin, err := sh.StdinPipe()
	if err != nil {
		return fmt.Errorf("make the supervisor's pipe: %w", err)
	}
	if err := sh.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.lifetime = lifetime{stdin: stdin, exited: make(chan struct{}), log: log}
	go func() {
		defer close(s.exited)
		_ = sh.Wait() // an immediate shutdown has no interesting status; the log tells why a start failed
	}()
	return nil
}

// prepare waits until the server takes connections and makes the ordinary role.
func (s *Server) prepare(ctx context.Context) error {
	for {
		err := s.admin(ctx, "CREATE ROLE "+appRole+" LOGIN PASSWORD '"+s.secret+"'")
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			if listener, err := net.Listen("tcp", s.address); err != nil { //nolint:noctx // returns at once
				return errPortTaken
			} else if err := listener.Close(); err != nil {
				return err
			}
			return fmt.Errorf("PostgreSQL ended while it started:\n%s", s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL takes no connections: %w\n%s", err, s.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// URL returns the connection URL of a database of this server, for a role that
// owns the databases but is no superuser.
func (s *Server) URL(database string) string { return s.url(appRole, database) }

func (s *Server) url(role, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, s.secret),
		Host: s.address, Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// CreateDatabase makes a database and returns its URL. It is empty, or a copy
// of template if that is not empty; nobody may be connected to the template.
func (s *Server) CreateDatabase(ctx context.Context, name, template string) (string, error) {
	err := s.admin(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+
		" OWNER "+appRole+" TEMPLATE "+pgx.Identifier{cmp.Or(template, "template1")}.Sanitize())
	if err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return s.URL(name), nil
}

// DropDatabase removes a database, and whoever is connected to it.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	if err := s.admin(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// admin runs one statement as superuser.
func (s *Server) admin(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.url(superuser, "postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	_ = conn.Close(context.WithoutCancel(ctx)) // the statement has committed or failed by now
	return err
}

// Stop ends the server and removes its files. It does not wait for clients. A
// second Stop does nothing.
func (s *Server) Stop() error {
	if err := s.stdin.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	<-s.exited
	if err := s.log.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close PostgreSQL's log: %w", err)
	}
	return nil
}

// logTail returns the last lines that the server wrote.
func (s *Server) logTail() string {
	const length = 4 << 10
	info, err := s.log.Stat()
	if err != nil {
		return err.Error()
	}
	tail := make([]byte, min(length, info.Size()))
	if _, err := s.log.ReadAt(tail, info.Size()-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	return string(tail)
}

// findBin returns the folder of initdb and postgres: what binVariable names,
// else what PATH has, else the newest version where Debian keeps them.
func findBin() (string, error) {
	if bin := os.Getenv(binVariable); bin != "" {
		return bin, nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("PostgreSQL's server programs are not installed: run tools/install.sh, "+
			"or set %s to the folder of initdb", binVariable)
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
	return filepath.Dir(newest), nil
}

// version reads 15 from /usr/lib/postgresql/15/bin/initdb.
func version(initdb string) int {
	major, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	if err != nil {
		return 0
	}
	return major
}

// unprivileged returns as whom PostgreSQL runs: nil, the caller, unless that is root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s has the id %q: %w", name, account.Uid, err)
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s has the group %q: %w", name, account.Gid, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// makeDir makes the folder of a server's files.
func makeDir(options Options, credential *syscall.Credential) (string, error) {
	parent := options.Dir
	switch {
	case parent != "":
	case !options.Durable && roomy(memory):
		parent = memory
	default:
		parent = temporary(credential)
	}
	dir, err := os.MkdirTemp(parent, "rolecall-postgres-")
	if err != nil {
		return "", err
	}
	return dir, chown(dir, credential)
}

// memory is Linux's file system in memory.
const memory = "/dev/shm"

// roomy reports whether dir has 2 GiB to spare. Containers often give 64 MiB to
// [memory], which is less than a server needs.
func roomy(dir string) bool {
	var free syscall.Statfs_t
	if err := syscall.Statfs(dir, &free); err != nil {
		return false
	}
	return free.Bavail*uint64(free.Bsize) >= 2<<30 //nolint:gosec // a block size is positive
}

// temporary returns the system's temporary folder, or /tmp if root has one that
// the user of PostgreSQL cannot enter.
func temporary(credential *syscall.Credential) string {
	if credential == nil {
		return os.TempDir()
	}
	for dir := filepath.Clean(os.TempDir()); dir != "/" && strings.HasPrefix(dir, "/"); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o001 == 0 {
			return "/tmp"
		}
	}
	return os.TempDir()
}

func chown(path string, credential *syscall.Credential) error {
	if credential == nil {
		return nil
	}
	return os.Chown(path, int(credential.Uid), int(credential.Gid))
}

func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("%v is no TCP address", listener.Addr())
	}
	return address.Port, listener.Close()
}
