package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/storage"
)

// finding is one thing that the doctor looked at.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warn or fail
	Detail string `json:"detail"`
}

func doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong with the configuration and the database", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := diagnose(cmd)
			failed := 0
			var text []byte
			for _, f := range findings {
				if f.State == "fail" {
					failed++
				}
				text = fmt.Appendf(text, "%-5s %-14s %s\n", f.State, f.Check, f.Detail)
			}
			var err error
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), findings)
			} else {
				_, err = cmd.OutOrStdout().Write(text)
			}
			if failed > 0 {
				err = errors.Join(err, fmt.Errorf("%d of %d checks failed", failed, len(findings)))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// diagnosis collects findings.
type diagnosis struct{ findings []finding }

func (d *diagnosis) add(check string, err error, detail string, args ...any) bool {
	f := finding{Check: check, State: "ok", Detail: fmt.Sprintf(detail, args...)}
	if err != nil {
		f.State, f.Detail = "fail", err.Error()
	}
	d.findings = append(d.findings, f)
	return err == nil
}

func (d *diagnosis) warn(check, detail string, args ...any) {
	d.findings = append(d.findings, finding{Check: check, State: "warn", Detail: fmt.Sprintf(detail, args...)})
}

func diagnose(cmd *cobra.Command) []finding {
	d := &diagnosis{}
	ctx, cancel := context.WithTimeout(cmd.Context(), 15*time.Second)
	defer cancel()
	c, _, err := configure(cmd)
	if !d.add("configuration", err, "read") {
		return d.findings
	}
	d.publicURL(c)
	address, err := c.database()
	if err != nil {
		d.add("database", err, "")
		return d.findings
	}
	d.files(address)
	store, err := storage.Open(ctx, address)
	if !d.add("database", err, "reached") {
		return d.findings
	}
	defer func() { _ = store.Close() }() // the process ends
	if d.migrations(ctx, store) {
		d.keys(ctx, c, address, store)
		d.blueprints(ctx, store)
	}
	return d.findings
}

func (d *diagnosis) publicURL(c *config) {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		d.add("public_url", err, "")
		return
	}
	host := u.Hostname()
	local := host == "localhost" || host == "127.0.0.1" || host == "::1"
	if u.Scheme == "http" && !local {
		d.warn("public_url", "%s is not HTTPS: cookies and tokens travel in the clear", c.PublicURL)
		return
	}
	d.add("public_url", nil, "%s is the issuer", c.PublicURL)
}

// files looks at who else may read the embedded database and its key.
func (d *diagnosis) files(address string) {
	path, embedded := strings.CutPrefix(address, "sqlite:")
	if !embedded || runtime.GOOS == "windows" {
		return
	}
	for _, name := range []string{path, path + ".key"} {
		info, err := os.Stat(name)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			d.warn("files", "others may read %s (%s): chmod 600", name, info.Mode().Perm())
		}
	}
}

func (d *diagnosis) migrations(ctx context.Context, store *storage.Store) bool {
	steps, err := store.Migrations(ctx)
	if err != nil {
		return d.add("migrations", err, "")
	}
	pending := 0
	for _, step := range steps {
		if !step.Applied {
			pending++
		}
	}
	if pending > 0 {
		err = fmt.Errorf("%d of %d are pending: run rolecall migrate up", pending, len(steps))
	}
	return d.add("migrations", err, "all %d applied", len(steps))
}

// blueprints notes where this release ships a newer version of a role system
// than tenants are on. It does not take effect by itself.
func (d *diagnosis) blueprints(ctx context.Context, store *storage.Store) {
	shipped, err := authz.Shipped()
	if err != nil {
		d.add("blueprints", err, "")
		return
	}
	versions, err := directory.NewBlueprints(store, shipped, time.Now).Versions(ctx)
	if err != nil {
		d.add("blueprints", err, "")
		return
	}
	inForce := map[string]int{}
	for _, v := range versions {
		if v.InForce {
			inForce[v.Name] = v.Version
		}
	}
	newer := 0
	for _, v := range versions {
		if v.Shipped && v.Version > inForce[v.Name] {
			newer++
			d.warn("blueprints", "%s: version %d is shipped, %d is in force: see rolecall blueprint load %s", v.Name, v.Version, inForce[v.Name], v.Name)
		}
	}
	if newer == 0 {
		d.add("blueprints", nil, "%d in force, none of an older version than the one shipped", len(inForce))
	}
}

// keys finds out whether the master key opens what the database holds.
func (d *diagnosis) keys(ctx context.Context, c *config, address string, store *storage.Store) {
	keyring, err := openKeyring(c, address)
	if !d.add("master key", err, "configured") {
		return
	}
	keys, err := store.SigningKeys(ctx)
	if err != nil {
		d.add("signing keys", err, "")
		return
	}
	for _, k := range keys {
		if len(k.Private) == 0 {
			continue
		}
		if _, err := keyring.Open(k.Private, "signing_keys/private_key/"+string(k.ID)); err != nil {
			d.add("signing keys", fmt.Errorf("%s: %w", k.ID, err), "")
			return
		}
	}
	if len(keys) == 0 {
		d.warn("signing keys", "none yet: the first start makes them")
		return
	}
	d.add("signing keys", nil, "%d, all opened by master key %s", len(keys), keyring.ID())
}
