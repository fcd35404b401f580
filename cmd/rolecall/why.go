package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

func whyCommand() *cobra.Command {
	var asJSON, overAPI bool
	cmd := &cobra.Command{
		Use: "why USER PERMISSION TENANT", Short: "Say in a sentence why a person has a permission in a tenant, or not", Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withInstance(cmd, func(ctx context.Context, in *instance) error {
				channel := authz.ChannelPortal
				if overAPI {
					channel = authz.ChannelAPI
				}
				answer, err := in.why(ctx, args[0], args[1], args[2], channel)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), answer.Explanation)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), sentence(args[0], args[2], answer))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&overAPI, "api", false, "ask about the API instead of the portal")
	return cmd
}

func (in *instance) why(ctx context.Context, user, permission, tenant string, channel authz.Channel) (*directory.Answer, error) {
	u, err := in.directory.UserByName(ctx, user)
	if errors.Is(err, fault.NotFound) {
		return nil, fmt.Errorf("there is no user %q", user)
	}
	if err != nil {
		return nil, err
	}
	answer, err := in.directory.Explain(ctx, directory.Bearer{User: u.ID}, tenant, permission, channel)
	if errors.Is(err, fault.NotFound) {
		return nil, fmt.Errorf("there is no tenant %q", tenant)
	}
	return answer, err
}

// sentence says an explanation in words.
func sentence(user, tenant string, a *directory.Answer) string {
	var sources []string
	for _, s := range a.GrantedBy {
		text := "the role " + s.Role + " held in " + nameOf(a, s.HeldIn) + through(s)
		if s.Selector != "self" {
			text += ", which reaches " + s.Selector
		}
		if s.ActsAs != "" {
			text += " as " + s.ActsAs
		}
		sources = append(sources, text)
	}
	if a.Allowed {
		return fmt.Sprintf("%s may %s in %s, by %s.", user, a.Permission, tenant, strings.Join(sources, ", and by "))
	}
	text := fmt.Sprintf("%s may not %s in %s", user, a.Permission, tenant)
	if len(sources) > 0 {
		text += ", though given by " + strings.Join(sources, ", and by ")
	}
	if r := a.RemovedBy; r != nil {
		text += ": " + reason(r)
		if r.Ask != "" {
			text += ". Ask the " + r.Ask
			if r.AskIn != "" {
				text += " in " + nameOf(a, r.AskIn)
			}
		}
	}
	return text + "."
}

// through says by what a role is held.
func through(s authz.Source) string {
	var by []string
	switch s.Given {
	case "direct":
		by = append(by, "directly")
	case "founder":
		by = append(by, "as the tenant's founder")
	case "operator":
		by = append(by, "by the operator's word")
	case "implicit":
		by = append(by, "like everybody there")
	case "default":
		by = append(by, "as the tenant's default role")
	}
	if len(s.Groups) == 1 {
		by = append(by, "through the group "+s.Groups[0])
	} else if len(s.Groups) > 1 {
		by = append(by, "through the groups "+strings.Join(s.Groups, ", "))
	}
	if len(by) == 0 {
		return ""
	}
	return " " + strings.Join(by, " and ")
}

func nameOf(a *directory.Answer, tenant id.Tenant) string {
	if name := a.Names[tenant]; name != "" {
		return name
	}
	return string(tenant)
}

// reason says what withheld a permission.
func reason(r *authz.Removal) string {
	missing := strings.Join(r.Missing, ", ")
	switch r.Stage {
	case authz.StageUnknown:
		return "the role system has no such permission"
	case authz.StageNoRole:
		if missing == "" {
			return "no role gives it"
		}
		return "none of the roles that give it is held: " + missing
	case authz.StageStatus:
		return "the membership's or the tenant's status gives no right"
	case authz.StageRetired:
		return "the role is retired"
	case authz.StageChannel:
		return "the role has no effect over this channel"
	case authz.StageAvailability:
		return "the role needs what its tenant is not entitled to: " + missing
	case authz.StageEntitlement:
		return "the tenant is not entitled to it, it lacks " + missing
	case authz.StageRequires:
		return "it also needs " + missing
	}
	return string(r.Stage)
}
