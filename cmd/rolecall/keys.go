package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/oidc"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "List or rotate the signing keys"}
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List the signing keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withInstance(cmd, func(ctx context.Context, in *instance) error {
				keys, err := in.oidc.Keys(ctx)
				if err != nil {
					return err
				}
				return printKeys(cmd.OutOrStdout(), keys, asJSON)
			})
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.AddCommand(list, &cobra.Command{
		Use: "rotate", Short: "Sign with the next keys from now on",
		Long: `Signs with the next keys from now on. They were published before, so no
application meets a key that it can't find; the keys until now stay published
while tokens signed by them live.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withInstance(cmd, func(ctx context.Context, in *instance) error {
				ctx = operator(ctx)
				if err := errors.Join(in.oidc.EnsureKeys(ctx), in.oidc.RotateKeys(ctx)); err != nil {
					return plain(err)
				}
				keys, err := in.oidc.Keys(ctx)
				if err != nil {
					return err
				}
				return printKeys(cmd.OutOrStdout(), keys, false)
			})
		},
	})
	return cmd
}

// keyLine is a signing key as the command shows it.
type keyLine struct {
	ID      string    `json:"kid"`
	Alg     string    `json:"alg"`
	State   string    `json:"state"`
	Created time.Time `json:"created"`
}

func printKeys(w io.Writer, keys []oidc.Key, asJSON bool) error {
	lines := make([]keyLine, 0, len(keys))
	for _, k := range keys {
		lines = append(lines, keyLine{ID: string(k.ID), Alg: string(k.Alg), State: string(k.State), Created: k.Created})
	}
	if asJSON {
		return printJSON(w, lines)
	}
	var text []byte
	for _, l := range lines {
		text = fmt.Appendf(text, "%s  %-6s %-9s %s\n", l.ID, l.Alg, l.State, l.Created.Format(time.RFC3339))
	}
	_, err := w.Write(text)
	return err
}
