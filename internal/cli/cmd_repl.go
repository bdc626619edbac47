package cli

import "github.com/spf13/cobra"

func newREPL(a *app) *cobra.Command { return &cobra.Command{Use: "repl"} }
