package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/authz/scenario"
)

// blueprintCommand works on role systems alone, with two exceptions: load
// changes the database, and list, show and diff look into it for what is not
// shipped, if there is one.
func blueprintCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "blueprint", Short: "Show, check, test and load role systems"}
	asJSON := cmd.PersistentFlags().Bool("json", false, "print as JSON")
	show := func(about func(w io.Writer, args []string) error) func(cmd *cobra.Command, args []string) error {
		return func(cmd *cobra.Command, args []string) error { return plain(about(cmd.OutOrStdout(), args)) }
	}
	var others []string
	test := &cobra.Command{
		Use: "test FILE", Short: "Ask the vectors of a file (YAML or JSON), print those that fail and why", Args: cobra.ExactArgs(1),
		RunE: show(func(w io.Writer, args []string) error { return testVectors(w, args[0], others, *asJSON) }),
	}
	test.Flags().StringArrayVar(&others, "blueprint", nil, "file of a blueprint to test, beside the shipped ones; it replaces one of its name")
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the versions of role systems, and which are in force", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return listBlueprints(cmd, *asJSON) },
		},
		&cobra.Command{
			Use: "show NAME[@VERSION]|FILE", Short: "Print the matrix, and who administers whom", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return showBlueprint(cmd, args[0], *asJSON) },
		},
		&cobra.Command{
			Use: "lint FILE", Short: "Check a blueprint and report every mistake with its line", Args: cobra.ExactArgs(1),
			RunE: show(func(w io.Writer, args []string) error { return lintBlueprint(w, args[0], *asJSON) }),
		},
		test,
		&cobra.Command{
			Use: "diff EARLIER LATER", Short: "Say what changes for each role; each is a NAME[@VERSION] or a FILE", Args: cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error { return diffBlueprints(cmd, args[0], args[1], *asJSON) },
		},
		loadCommand(asJSON),
	)
	return cmd
}

// blueprintOf returns the blueprint that a NAME[@VERSION] or a FILE stands for.
func blueprintOf(cmd *cobra.Command, name string) (*authz.Blueprint, error) {
	source, err := sourceOf(cmd, name)
	if err != nil {
		return nil, plain(err)
	}
	return compileBlueprint(source)
}

// compileBlueprint shows all mistakes of a blueprint, not only the first.
func compileBlueprint(source []byte) (*authz.Blueprint, error) {
	b, err := authz.Load(source)
	if problems, ok := errors.AsType[authz.Problems](err); ok {
		return nil, problems
	}
	return b, err
}

// blueprintView is a blueprint as it is shown: the vendor's table, and who
// administers whom.
type blueprintView struct {
	Name        string                         `json:"name"`
	Version     int                            `json:"version"`
	Tenant      string                         `json:"tenant"` // the portal's word for one
	Columns     []string                       `json:"columns"`
	Letters     map[string]string              `json:"cells"` // what the letters in the rows stand for
	Rows        []rowView                      `json:"rows"`
	Administers map[string]map[string][]string `json:"administers"` // actor to target to operations
}

type rowView struct {
	Area  string   `json:"area"`
	Row   string   `json:"row"`
	Keys  []string `json:"keys"`
	Cells []string `json:"cells"` // one letter per column
}

func view(b *authz.Blueprint) blueprintView {
	doc := b.Document()
	v := blueprintView{
		Name: b.Name(), Version: b.Version(), Tenant: doc.Noun.Tenant, Columns: doc.Columns, Letters: doc.Cells, Administers: map[string]map[string][]string{},
	}
	for _, area := range doc.Permissions {
		for _, row := range area.Rows {
			keys := row.Keys
			if row.Administers != "" {
				keys = []string{"administers(" + row.Administers + ")"}
			}
			v.Rows = append(v.Rows, rowView{area.Area, row.Label, keys, strings.Split(row.Cells, "")})
		}
	}
	roles := b.Roles()
	for _, actor := range roles {
		for _, target := range roles {
			var over []string
			for _, operation := range b.Operations() {
				if b.Administers(actor.Key, operation, target.Key) {
					over = append(over, operation)
				}
			}
			if over == nil {
				continue
			}
			if v.Administers[actor.Key] == nil {
				v.Administers[actor.Key] = map[string][]string{}
			}
			v.Administers[actor.Key][target.Key] = over
		}
	}
	return v
}

func showBlueprint(cmd *cobra.Command, name string, asJSON bool) error {
	b, err := blueprintOf(cmd, name)
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	v := view(b)
	if asJSON {
		return printJSON(w, v)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")) } //nolint:errcheck // Flush reports it
	line(fmt.Sprintf("%s, version %d: a tenant is a %s", v.Name, v.Version, v.Tenant))
	area := ""
	for _, row := range v.Rows {
		if row.Area != area {
			area = row.Area
			line("")
			line(append(append([]string{strings.ToUpper(area)}, v.Columns...), "PERMISSIONS")...)
		}
		line(append(append([]string{row.Row}, row.Cells...), strings.Join(row.Keys, ", "))...)
	}
	line("")
	for _, letter := range slices.Sorted(maps.Keys(v.Letters)) {
		line(letter + " = " + v.Letters[letter])
	}
	line("")
	line("WHO ADMINISTERS WHOM")
	for _, actor := range b.Roles() {
		for _, target := range b.Roles() {
			if over := v.Administers[actor.Key][target.Key]; over != nil {
				line(actor.Key, target.Key, strings.Join(over, ", "))
			}
		}
	}
	return table.Flush()
}

func lintBlueprint(w io.Writer, file string, asJSON bool) error {
	source, err := os.ReadFile(file) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	b, err := authz.Load(source)
	problems, bad := errors.AsType[authz.Problems](err)
	if err != nil && !bad {
		return err
	}
	if asJSON {
		type problem struct {
			Line int    `json:"line,omitempty"`
			Path string `json:"path,omitempty"`
			Text string `json:"text"`
		}
		list := []problem{}
		for _, p := range problems {
			list = append(list, problem(p))
		}
		if err := printJSON(w, list); err != nil {
			return err
		}
	}
	if bad {
		if asJSON {
			return fmt.Errorf("%s has %d mistakes", file, len(problems))
		}
		return fmt.Errorf("%s has %d mistakes:\n%w", file, len(problems), problems)
	}
	if !asJSON {
		_, err = fmt.Fprintf(w, "%s: blueprint %s, version %d: %d roles, %d permissions, no mistakes\n", file, b.Name(), b.Version(), len(b.Roles()), len(b.Permissions()))
	}
	return err
}

// testVectors asks every vector of a file of the production code.
func testVectors(w io.Writer, file string, blueprints []string, asJSON bool) error {
	source, err := os.ReadFile(file) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	suites, err := scenario.Parse(source)
	if err != nil {
		return err
	}
	catalog, err := catalogWith(blueprints)
	if err != nil {
		return err
	}
	results, failed := []scenario.Result{}, 0
	for _, suite := range suites {
		outcome, err := scenario.Run(suite, catalog)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", file, suite.Name, err)
		}
		for _, r := range outcome {
			results = append(results, r)
			if r.Passed() {
				continue
			}
			failed++
			if !asJSON {
				if err := printFailure(w, file, r); err != nil {
					return err
				}
			}
		}
	}
	if asJSON {
		err = printJSON(w, map[string]any{"vectors": len(results), "failed": failed, "results": results})
	} else {
		_, err = fmt.Fprintf(w, "%d vectors, %d failed\n", len(results), failed)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d vectors failed", failed, len(results))
	}
	return err
}

// catalogWith returns the shipped blueprints and those of the files.
func catalogWith(files []string) (*authz.Catalog, error) {
	shipped, err := authz.Shipped()
	if err != nil {
		return nil, err
	}
	var all []*authz.Blueprint
	for _, name := range shipped.Names() {
		b, err := shipped.Blueprint(name)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	for _, file := range files {
		source, err := os.ReadFile(file) //nolint:gosec // the path is the operator's
		if err != nil {
			return nil, err
		}
		b, err := compileBlueprint(source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, b)
	}
	return authz.NewCatalog(all...), nil
}

func printFailure(w io.Writer, file string, r scenario.Result) error {
	answer := func(allowed bool, code string) string {
		text := "refused"
		if allowed {
			text = "allowed"
		}
		if code != "" {
			text += " (" + code + ")"
		}
		return text
	}
	_, err := fmt.Fprintf(w, "%s:%d: %s %s: got %s, want %s\n", file, r.Line, r.Suite, r.ID, answer(r.Got, r.GotCode), answer(r.Then, r.Code))
	if err != nil || r.Explanation == nil {
		return err
	}
	why, err := json.Marshal(r.Explanation)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "  because %s\n", why)
	return err
}

func diffBlueprints(cmd *cobra.Command, earlier, later string, asJSON bool) error {
	before, err := blueprintOf(cmd, earlier)
	if err != nil {
		return err
	}
	after, err := blueprintOf(cmd, later)
	if err != nil {
		return err
	}
	differences, changes := authz.Diff(before, after), authz.Changes(before, after)
	if asJSON {
		return printJSON(cmd.OutOrStdout(), map[string]any{"roles": orEmptyList(differences), "changes": orEmptyList(changes)})
	}
	_, err = cmd.OutOrStdout().Write(differencesText(differences, changes))
	return err
}

// orEmptyList makes JSON say [] rather than null.
func orEmptyList[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// differencesText says what changes for each role, and what besides.
func differencesText(roles []authz.RoleDifference, changes []authz.Change) []byte {
	var text []byte
	if len(roles) == 0 {
		text = append(text, "nothing changes for any role\n"...)
	}
	for _, d := range roles {
		switch {
		case d.New:
			text = fmt.Appendf(text, "%s: is new\n", d.Role)
		case d.Removed:
			text = fmt.Appendf(text, "%s: is removed, its holders need another role\n", d.Role)
		default:
			text = fmt.Appendf(text, "%s\n", d.Role)
		}
		for _, gain := range d.Gains {
			text = fmt.Appendf(text, "  + %s\n", gain)
		}
		for _, loss := range d.Loses {
			text = fmt.Appendf(text, "  - %s\n", loss)
		}
	}
	for _, c := range changes {
		text = fmt.Appendf(text, "%s\n", c)
	}
	return text
}
