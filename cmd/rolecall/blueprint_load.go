package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/storage"
)

func loadCommand(asJSON *bool) *cobra.Command {
	var replacements []string
	var yes bool
	cmd := &cobra.Command{
		Use:   "load FILE|NAME",
		Short: "Put a version of a role system in force, or show what that would do",
		Long: `Puts a version of a role system in force, for new tenants and for all that have
one of its name: a FILE, or the NAME of one that this release ships. Without
--yes it only shows what would change: for each role, for the rest of the
portal, and which people gain or lose permissions.

The version must be higher than the one in force. A role that it lacks and that
somebody holds needs a replacement, --replace OLD=NEW, or is dropped with
--replace OLD=. It happens to all tenants or to none; nobody is signed out, and
tokens say the new roles from then on. Servers that run notice by themselves.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			replace, err := parseReplacements(replacements)
			if err != nil {
				return err
			}
			source, err := shippedOrFile(args[0])
			if err != nil {
				return err
			}
			if _, err := compileBlueprint(source); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return withInstance(cmd, func(ctx context.Context, in *instance) error {
				return plain(in.loadBlueprint(operator(ctx), cmd.OutOrStdout(), source, replace, yes, *asJSON))
			})
		},
	}
	cmd.Flags().StringArrayVar(&replacements, "replace", nil, "OLD=NEW: what the holders of a role that goes away get; OLD= for nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it, rather than show what would happen")
	return cmd
}

func parseReplacements(given []string) (map[string]string, error) {
	replace := map[string]string{}
	for _, pair := range given {
		old, replacement, ok := strings.Cut(pair, "=")
		if !ok || old == "" {
			return nil, fmt.Errorf("--replace %q is not OLD=NEW or OLD=", pair)
		}
		if other, twice := replace[old]; twice && other != replacement {
			return nil, fmt.Errorf("--replace names %q twice", old)
		}
		replace[old] = replacement
	}
	return replace, nil
}

// loadBlueprint shows what a version does, and puts it in force if it shall.
func (in *instance) loadBlueprint(ctx context.Context, w io.Writer, source []byte, replace map[string]string, yes, asJSON bool) error {
	plan, err := in.directory.PlanUpgrade(ctx, source, replace)
	if err != nil {
		return err
	}
	done := false
	if yes && !plan.Nothing() {
		// What happened is told as it was when it did.
		if len(plan.Problems) == 0 {
			if plan, err = in.directory.Upgrade(ctx, source, replace); err != nil {
				return err
			}
			done = true
		}
	}
	if asJSON {
		err = printJSON(w, struct {
			*directory.Upgrade
			Done bool `json:"done"`
		}{plan, done})
	} else {
		_, err = w.Write(upgradeText(plan, done))
	}
	if err == nil && len(plan.Problems) > 0 {
		err = fmt.Errorf("version %d of %s can't take effect yet: %d problems", plan.To, plan.Blueprint, len(plan.Problems))
	}
	return err
}

func upgradeText(u *directory.Upgrade, done bool) []byte {
	var text []byte
	line := func(format string, args ...any) { text = fmt.Appendf(text, format+"\n", args...) }
	switch {
	case u.Nothing():
		line("version %d of %s is in force already: there is nothing to do", u.To, u.Blueprint)
		return text
	case u.From == 0:
		line("%s, version %d, is new", u.Blueprint, u.To)
	default:
		line("%s: version %d in place of %d", u.Blueprint, u.To, u.From)
		line("")
		text = append(text, differencesText(u.Roles, u.Changes)...)
	}
	for _, t := range u.Tenants {
		line("")
		line("%s: of %d people %d gain permissions, %d lose some", t.Slug, t.Members, t.Gain.Count, t.Lose.Count)
		if t.Gain.Count > 0 {
			line("  gain: %s", &t.Gain)
		}
		if t.Lose.Count > 0 {
			line("  lose: %s", &t.Lose)
		}
		for _, effect := range t.Roles {
			line("  of those with %s: %d gain, %d lose", effect.Role, effect.Gain, effect.Lose)
		}
		for _, moved := range t.Moved {
			become := "get " + moved.Replacement
			if !moved.Decided {
				become = "need another role"
			} else if moved.Replacement == "" {
				become = "get no other role"
			}
			line("  with %s: %s; they %s", moved.Role, moved.Uses(), become)
		}
	}
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			line("\n%s\n  %s", title, strings.Join(lines, "\n  "))
		}
	}
	section("to know:", u.Notices)
	section("it can't take effect:", u.Problems)
	line("")
	switch {
	case done:
		line("done: version %d is in force for %d tenants", u.To, len(u.Tenants))
	case len(u.Problems) == 0:
		line("nothing has changed yet: add --yes to put it in force")
	}
	return text
}

// shippedOrFile returns the source that a NAME or a FILE stands for, without a
// database.
func shippedOrFile(name string) ([]byte, error) {
	source, err := authz.ShippedSource(name)
	if err == nil {
		return source, nil
	}
	source, err = os.ReadFile(name) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, fmt.Errorf("no blueprint of this name is shipped, and as a file: %w", err)
	}
	return source, nil
}

// sourceOf returns the source that a NAME, a NAME@VERSION or a FILE stands for.
// A file comes last, so that what a name means does not hang on the folder. The
// stored versions count where there is a database: of a NAME alone, the one in
// force.
func sourceOf(cmd *cobra.Command, name string) ([]byte, error) {
	base, version := name, 0
	if before, number, found := strings.Cut(name, "@"); found {
		n, err := strconv.Atoi(number)
		if err == nil && n > 0 {
			base, version = before, n
		}
	}
	var source []byte
	err := withStored(cmd, func(ctx context.Context, v versions) error {
		var err error
		source, err = v.Source(ctx, base, version)
		return err
	})
	if !errors.Is(err, fault.Invalid) {
		return source, err
	}
	if version != 0 {
		return nil, err
	}
	return shippedOrFile(name)
}

// versions are the role systems that a command can look at.
type versions interface {
	Versions(ctx context.Context) ([]directory.KnownVersion, error)
	Version(ctx context.Context, name string, version int) (*authz.Blueprint, error)
	// Source returns the YAML, of the version in force if version is 0.
	Source(ctx context.Context, name string, version int) ([]byte, error)
}

// withStored runs f on the blueprints of the configured database. Where there is
// no database, or none that is up to date, only the shipped ones are known: to
// look at those needs none.
func withStored(cmd *cobra.Command, f func(ctx context.Context, v versions) error) error {
	shipped, err := authz.Shipped()
	if err != nil {
		return err
	}
	c, _, err := configure(cmd)
	if err != nil {
		return err
	}
	store, err := existingStore(cmd.Context(), c)
	if err != nil {
		return err
	}
	if store == nil {
		return f(cmd.Context(), shippedVersions{shipped})
	}
	return errors.Join(f(cmd.Context(), directory.NewBlueprints(store, shipped, time.Now)), store.Close())
}

// existingStore opens the configured database; nil if it has yet to be made. An
// SQLite file that is not there is not made for this.
func existingStore(ctx context.Context, c *config) (*storage.Store, error) {
	address, err := c.existingDatabase()
	if err != nil || address == "" {
		return nil, err
	}
	store, err := storage.Open(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("database_url: %w", err)
	}
	steps, err := store.Migrations(ctx)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	for _, step := range steps {
		if !step.Applied {
			return nil, store.Close()
		}
	}
	return store, nil
}

// shippedVersions are the role systems that this release ships.
type shippedVersions struct{ catalog *authz.Catalog }

// Versions implements versions.
func (s shippedVersions) Versions(context.Context) ([]directory.KnownVersion, error) {
	var known []directory.KnownVersion
	for _, name := range s.catalog.Names() {
		b, err := s.catalog.Blueprint(name)
		if err != nil {
			return nil, err
		}
		known = append(known, directory.KnownVersion{Name: name, Version: b.Version(), Shipped: true, InForce: true})
	}
	return known, nil
}

// Version implements versions.
func (s shippedVersions) Version(_ context.Context, name string, version int) (*authz.Blueprint, error) {
	b, err := s.catalog.Blueprint(name)
	if err == nil && version != 0 && b.Version() != version {
		return nil, fault.Field(fault.Invalid, "blueprint", "version %d of %s is not shipped, and there is no database", version, name)
	}
	return b, err
}

// Source implements versions.
func (s shippedVersions) Source(ctx context.Context, name string, version int) ([]byte, error) {
	if _, err := s.Version(ctx, name, version); err != nil {
		return nil, err
	}
	return authz.ShippedSource(name)
}

// listedVersion is one line of the list.
type listedVersion struct {
	Name        string `json:"name"`
	Version     int    `json:"version"`
	Shipped     bool   `json:"shipped"`  // this release has it
	InForce     bool   `json:"in_force"` // new tenants begin on it
	Tenants     int    `json:"tenants"`  // that are on it
	Roles       int    `json:"roles"`
	Permissions int    `json:"permissions"`
	Tenant      string `json:"tenant"` // the portal's word for one
}

func listBlueprints(cmd *cobra.Command, asJSON bool) error {
	var list []listedVersion
	err := withStored(cmd, func(ctx context.Context, v versions) error {
		var err error
		list, err = listVersions(ctx, v)
		return err
	})
	if err != nil {
		return plain(err)
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), list)
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tVERSION\tSHIPPED\tIN FORCE\tTENANTS\tROLES\tPERMISSIONS\tA TENANT IS A") //nolint:errcheck // Flush reports it
	yesNo := map[bool]string{true: "yes", false: "-"}
	for _, v := range list {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", //nolint:errcheck // Flush reports it
			v.Name, v.Version, yesNo[v.Shipped], yesNo[v.InForce], v.Tenants, v.Roles, v.Permissions, v.Tenant)
	}
	return table.Flush()
}

func listVersions(ctx context.Context, v versions) ([]listedVersion, error) {
	all, err := v.Versions(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]listedVersion, 0, len(all))
	for _, known := range all {
		b, err := v.Version(ctx, known.Name, known.Version)
		if err != nil {
			return nil, fmt.Errorf("%s, version %d: %w", known.Name, known.Version, err)
		}
		list = append(list, listedVersion{
			Name: known.Name, Version: known.Version, Shipped: known.Shipped, InForce: known.InForce, Tenants: known.Tenants,
			Roles: len(b.Roles()), Permissions: len(b.Permissions()), Tenant: b.Document().Noun.Tenant,
		})
	}
	return list, nil
}
