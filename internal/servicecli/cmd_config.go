package servicecli

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/config"
)

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check the service's configuration, list its keys, make a token"}
	cmd.AddCommand(newConfigCheck(a), newConfigKeys(a), newConfigToken(a))
	return group(cmd)
}

// newConfigCheck: what `serve` would refuse at its start.
func newConfigCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Say whether a configuration can be used", Args: arguments(0, 1),
		Example: "  cellblock config check /etc/cellblock/cellblock.toml",
		RunE: func(_ *cobra.Command, args []string) error {
			path := configPath("")
			if len(args) == 1 {
				path = args[0]
			}
			o := newOptions()
			keys := o.Keys()
			serve := newServe(a) // for its flags, none of which is set
			if err := config.Settle(keys, serve.Flags(), path, os.Environ()); err != nil {
				return err
			}
			log, err := o.Logger(a.Err)
			if err != nil {
				return err
			}
			settings, err := o.settings(log)
			if err != nil {
				return err
			}
			if err := settings.Check(); err != nil {
				return config.Usagef("%v", err)
			}
			return a.printf("ok: looked at %s\n", config.Looked(path, os.Environ()))
		},
	}
}

func newConfigKeys(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "keys", Short: "List every key, with its environment variable", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			for _, k := range new(options).Keys() {
				if err := a.printf("%-17s %s\n%-17s %s\n", k.Name, strings.ReplaceAll(k.Help, "`", ""), "", k.Variable()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newConfigToken(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "token NAME", Short: "Make a token: the secret for the client, the line for the tokens file", Args: arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "" || len(args[0]) > 64 || strings.ContainsAny(args[0], " \t\r\n#") {
				return config.Usagef("%q is no name of a token: 1 to 64 characters without blanks", args[0])
			}
			secret, line := api.NewToken(args[0])
			return a.printf("secret, told only now:\n  %s\nline for the tokens file:\n  %s\n", secret, line)
		},
	}
}
