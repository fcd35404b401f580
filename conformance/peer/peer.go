// Package peer starts npm's oidc-provider, an OpenID provider that is certified
// and that others wrote, as something to compare with.
package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// A Client is an OAuth client of the provider: the metadata of OpenID Connect
// Dynamic Client Registration §2, access_token, "jwt" or "opaque", and the
// access_token_signed_response_alg of those that it gets for itself.
type Client map[string]any

// Person is whoever signs in.
type Person struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Email        string `json:"email"`
	PasswordHash string `json:"password_hash,omitempty"` // argon2id in PHC form; empty: nothing is asked for
}

// A Provider is one that runs. Its paths are Rolecall's.
type Provider struct {
	Issuer string

	process *exec.Cmd
	stdin   io.Closer
}

// Start starts a provider on a free port of loopback, with its state in memory. It
// runs until Stop, or until this process ends.
// It installs its packages where they are missing; Node 20 and npm are needed.
func Start(ctx context.Context, person Person, clients ...Client) (*Provider, error) {
	dir, err := install(ctx)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Provider{Issuer: "http://" + listener.Addr().String()}
	if err := listener.Close(); err != nil { // node takes the port, not the listener
		return nil, err
	}
	settings, err := json.Marshal(map[string]any{"issuer": p.Issuer, "person": person, "clients": clients})
	if err != nil {
		return nil, err
	}
	var complaints strings.Builder
	p.process = exec.CommandContext(context.WithoutCancel(ctx), "node", "provider.mjs")
	p.process.Dir, p.process.Stderr = dir, &complaints
	p.process.Env = append(os.Environ(), "SETTINGS="+string(settings), "NODE_ENV=production")
	if p.stdin, err = p.process.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("oidc-provider did not start: %w\n%s", err, complaints.String()), p.stdin.Close(), p.process.Wait())
	}
	return p, nil
}

// Stop ends the provider.
func (p *Provider) Stop() error { return errors.Join(p.stdin.Close(), p.process.Wait()) }

// install brings in what package.json names, by its lock file.
func install(ctx context.Context) (dir string, err error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("where the sources are is not known")
	}
	dir = filepath.Join(filepath.Dir(file), "node")
	if there, err := installed(dir); err != nil || there {
		return dir, err
	}
	command := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci in %s (Node 20 and npm are needed): %w\n%s", dir, err, out)
	}
	return dir, nil
}

// installed reports whether all that package.json names is there.
func installed(dir string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(dir, "package.json")) //nolint:gosec // beside this file
	if err != nil {
		return false, err
	}
	var manifest struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &manifest); err != nil {
		return false, err
	}
	for name := range manifest.Dependencies {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", name, "package.json")); err != nil {
			return false, nil //nolint:nilerr // then it is brought in
		}
	}
	return true, nil
}
