package servicecli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/internal/mcp"

	"github.com/cellblock/cellblock/internal/config"
)

const installLong = `Print the settings that make an MCP client use Cellblock, and say on standard
error where they belong. Nothing is written. What follows -- is passed on to
"cellblock mcp" by the client; with --url, the settings are those for a service.`

const installExample = `  cellblock mcp install --client claude-code
  cellblock mcp install --client codex -- --with pandas,matplotlib >>~/.codex/config.toml
  cellblock mcp install --client cursor --url http://127.0.0.1:8080/mcp`

func newMCPInstall(a *app) *cobra.Command {
	var client, name, url string
	cmd := &cobra.Command{
		Use: "install --client CLIENT [flags] [-- FLAGS OF cellblock mcp...]", Short: "Print the settings for an MCP client",
		Long: installLong + "\n\nClients: " + strings.Join(mcp.Clients(), ", ") + ".", Example: installExample,
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if client == "" {
				return config.Usagef("name a client with --client: %s", strings.Join(mcp.Clients(), ", "))
			}
			program, err := theCommand()
			if err != nil {
				return err
			}
			if err := newMCP(a).ParseFlags(args); err != nil {
				return config.Usagef("what follows -- must be flags of cellblock mcp: %v", err)
			}
			if args, err = absolute(args); err != nil {
				return err
			}
			how := mcp.Launch{Name: name, Command: program, Args: append([]string{"mcp"}, args...), URL: url}
			if url != "" && len(args) > 0 {
				return config.Usagef("flags of cellblock mcp mean nothing to the service at --url")
			}
			text, where, err := how.Settings(client)
			if err != nil {
				return config.Usagef("--client: %v", err)
			}
			fmt.Fprintf(a.Err, "# %s\n", where)
			return a.printf("%s\n", text)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&client, "client", "", "the `CLIENT` to print settings for")
	fs.StringVar(&name, "name", "cellblock", "what the client calls the server, `NAME`")
	fs.StringVar(&url, "url", "", "use the service at this `URL`, with the token in $"+mcp.TokenVariable+", instead of starting a program")
	return cmd
}

// absolute makes the paths among the flags whole: a client starts programs
// wherever it likes.
func absolute(args []string) ([]string, error) {
	args = slices.Clone(args)
	paths := []string{"--file", "--dir", "--venv", "--python", "--state-dir", "--runtime-dir"}
	for i, arg := range args {
		flag, value, joined := strings.Cut(arg, "=")
		if !slices.Contains(paths, flag) || !joined && i+1 == len(args) {
			continue
		}
		if !joined {
			value = args[i+1]
		}
		whole, err := filepath.Abs(value)
		if err != nil {
			return nil, err
		}
		if joined {
			args[i] = flag + "=" + whole
		} else {
			args[i+1] = whole
		}
	}
	return args, nil
}

// theCommand is the cellblock beside this program, or the one that this lies
// below (../lib/cellblock).
func theCommand() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, "cellblock"), filepath.Join(dir, "../../bin/cellblock")} {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return self, nil // it knows the command mcp itself
}
