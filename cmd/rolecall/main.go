// Command rolecall is the identity server and its tools: flags, configuration
// and wiring, nothing else.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// The live heap is small and requests make much garbage: collecting at
	// twice its size costs a tenth of the processor under load and saves
	// memory that nobody misses. GOGC, if set, has the last word.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rolecall: "+err.Error())
		os.Exit(1)
	}
}

// run executes one command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := &cobra.Command{
		Use:           "rolecall",
		Short:         "Multi-tenant identity server: SCIM 2.0 in, OpenID Connect out, roles per tenant",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addConfigFlags(root.PersistentFlags())
	root.AddCommand(
		serveCommand(), demoCommand(), applyCommand(), migrateCommand(), keysCommand(), membershipCommand(), blueprintCommand(), whyCommand(),
		setupLinkCommand(), doctorCommand(), healthcheckCommand(), versionCommand(),
	)
	return root.ExecuteContext(ctx)
}

// withInstance runs f on the configured instance.
func withInstance(cmd *cobra.Command, f func(ctx context.Context, in *instance) error) (err error) {
	c, logger, err := configure(cmd)
	if err != nil {
		return err
	}
	in, err := openInstance(cmd.Context(), c, logger)
	if err != nil {
		return err
	}
	defer func() {
		if closing := in.Close(); err == nil {
			err = closing
		}
	}()
	return f(cmd.Context(), in)
}

// configure reads the configuration and makes the logger that it asks for.
func configure(cmd *cobra.Command) (*config, *slog.Logger, error) {
	c, err := loadConfig(cmd.Flags(), os.Environ())
	if err != nil {
		return nil, nil, err
	}
	level, err := c.logLevel()
	if err != nil {
		return nil, nil, err
	}
	// Libraries log to the default logger: routes, and each mistake of a client
	// as a warning. The operator's log has the requests already.
	slog.SetDefault(slog.New(c.logHandler(cmd.ErrOrStderr(), max(level, slog.LevelError))))
	return c, slog.New(c.logHandler(cmd.ErrOrStderr(), level)), nil
}
