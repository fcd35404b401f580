package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// demoWarning stands above everything that the demo prints.
const demoWarning = "THIS IS FOR TRYING ONLY: everybody's secrets are printed below, and nothing is kept."

// text is what the demo prints: how to sign in, as whom, and lines to copy.
func (d *demoInstance) text(c *config) string {
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	line(demoWarning)
	line("")
	line("Rolecall is at %s/login (password of everybody: %s)", c.PublicURL, d.password)
	line("The operator is %s", demoOperator)
	for i := range d.Systems {
		line("")
		d.system(&text, &d.Systems[i])
	}
	line("")
	line("A second factor is asked of who has a key; the code of the moment: oathtool --totp --base32 KEY")
	line("")
	line("To copy:")
	line("")
	for _, robot := range []string{"nce-api-user", "acme-robot"} {
		line("# a token for a service account: its roles are in it")
		line("curl -s %s/oauth2/token -u '%s:%s' -d grant_type=client_credentials", c.PublicURL, robot, d.secrets[robot])
	}
	ask := func(about, person, permission, tenant string) {
		line("# " + about)
		line(`curl -s %s/access/v1/evaluation -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \`, c.PublicURL, d.token)
		line(`  -d '{"subject":{"type":"user","id":"%s"},"action":{"name":"%s"},"resource":{"type":"tenant","id":"%s"},"context":{"explain":true}}'`, person, permission, tenant)
	}
	ask("AuthZEN, explained: yes, as the SuperAdmin reaches linked workspaces (EM-R01)", "mia@em.example", "devices.update", "em-north")
	ask("no: the hub's administrator is nobody there (EM-R04)", "andy@em.example", "devices.update", "em-north")
	line("# the same in a sentence")
	line("ROLECALL_DATABASE_URL='%s' rolecall why mia@em.example devices.update em-north", c.DatabaseURL)
	line("# sign in as somebody and come back with a code (the application is %s, secret %s, redirect %s)", demoApplication, d.secrets[demoApplication], demoRedirect)
	line("%s/.well-known/openid-configuration", c.PublicURL)
	line("")
	line("End with Ctrl-C; the database goes with it.")
	return text.String()
}

// system prints the table of one portal.
func (d *demoInstance) system(text *strings.Builder, s *demoSystem) {
	fmt.Fprintf(text, "%s\n", strings.ToUpper(s.Title))
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")) } //nolint:errcheck // a strings.Builder takes all
	row("E-MAIL", "PASSWORD", "TENANT", "ROLES", "STATUS", "TRY")
	for i := range s.People {
		p := &s.People[i]
		status := p.Status
		if status == "" {
			status = "active"
		}
		for n, tenant := range p.tenants() {
			roles := strings.Join(p.roles(tenant), ", ")
			for role, resource := range p.Resources {
				roles = strings.TrimPrefix(roles+", "+role+" on "+resource, ", ")
			}
			if n == 0 {
				row(p.Email, d.password, tenant, roles, status, p.Try)
			} else {
				row("", "", tenant, roles, status, "")
			}
		}
		if p.key != "" {
			row("", "key "+p.key, "", "", "", "")
		}
	}
	_ = table.Flush() // a strings.Builder takes all
	for _, t := range s.Tenants {
		what := []string{t.Name}
		if t.Type != "" {
			what = append(what, t.Type)
		}
		if t.Tier != "" {
			what = append(what, "tier "+t.Tier)
		}
		for relation, parent := range t.Relations {
			what = append(what, relation+" of "+parent)
		}
		fmt.Fprintf(text, "  %-15s %s\n", t.Slug, strings.Join(what, ", "))
	}
}
