package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// serviceProgram has what only a service and its clients need. It lies beside
// this program, or in ../lib/cellblock.
const serviceProgram = "cellblock-service"

// handedOver are the commands that this program becomes another one for.
var handedOver = []struct{ use, short, example string }{
	{"serve [flags]", "Serve sessions and executions over HTTP", "  cellblock serve --config /etc/cellblock/cellblock.toml"},
	{"exec [flags] (FILE | - | -c CODE)", "Run code through a service", "  cellblock exec --session s -c 'x = 1'"},
	{"sessions [flags]", "List, watch, make and end a service's sessions", "  cellblock sessions --watch"},
	{"files [command]", "Read and write the files of a service's session", "  cellblock files list work"},
	{"mcp [flags]", "Serve a sandbox to a language model, by the Model Context Protocol", "  cellblock mcp --with pandas,matplotlib\n  cellblock mcp install --client claude-code"},
	{"config [command]", "Check a service's configuration, list its keys, make a token", "  cellblock config check cellblock.toml"},
}

// handOver makes the command that hands over: its flags and its help are the
// other program's.
func handOver(i int) func(*app) *cobra.Command {
	return func(*app) *cobra.Command {
		c := handedOver[i]
		cmd := &cobra.Command{
			Use: c.use, Short: c.short, Example: c.example,
			Long:               c.short + ".\n\nThis is the work of the program " + serviceProgram + ", whose --help lists the flags.",
			DisableFlagParsing: true, DisableFlagsInUseLine: true,
		}
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			path, err := findService()
			if err != nil {
				return err
			}
			argv := append([]string{"cellblock", cmd.Name()}, args...)
			return fmt.Errorf("cannot become %s: %w", path, syscall.Exec(path, argv, os.Environ()))
		}
		return cmd
	}
}

func findService() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, serviceProgram), filepath.Join(dir, "../lib/cellblock", serviceProgram)} {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("the program %s is missing: it belongs beside %s", serviceProgram, self)
}
