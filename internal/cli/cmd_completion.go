package cli

import (
	"github.com/spf13/cobra"
)

const completionLong = `Print the code that makes a shell complete cellblock's commands, flags and files.`

const completionExample = `  source <(cellblock completion bash)
  cellblock completion bash > /etc/bash_completion.d/cellblock
  cellblock completion zsh > "${fpath[1]}/_cellblock"
  cellblock completion fish > ~/.config/fish/completions/cellblock.fish`

var shells = []string{"bash", "zsh", "fish"}

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:                   "completion (bash | zsh | fish)",
		Short:                 "Print the code for completion in a shell",
		Long:                  completionLong,
		Example:               completionExample,
		ValidArgs:             shells,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one shell: bash, zsh or fish")
			}
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.Out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.Out)
			case "fish":
				return cmd.Root().GenFishCompletion(a.Out, true)
			}
			return usagef("no completion for the shell %q: there is bash, zsh and fish", args[0])
		},
	}
}
