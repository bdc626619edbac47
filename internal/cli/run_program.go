package cli

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// program is one piece of code as Python would see it.
type program struct {
	code, module, filename string
	argv                   []string
	whole                  bool // not a piece whose last expression has a value
}

// programs says what a command line wants to be run. args are the arguments
// that are no flags.
func (c *runCommand) programs(args []string) ([]program, error) {
	switch {
	case len(c.code) > 0 && c.module != "":
		return nil, usagef("-c and -m cannot go together: give one of them")
	case len(c.code) > 0:
		programs := make([]program, len(c.code))
		for i, code := range c.code {
			if len(code) > maxCode {
				return nil, usagef("-c: the code is larger than %s: put it in a file", sizeText(maxCode))
			}
			programs[i] = program{code: code, filename: "<string>", argv: append([]string{"-c"}, args...)}
		}
		return programs, nil
	case c.module != "" && c.validate:
		return nil, usagef("--validate looks at the source of one program: it cannot go with -m")
	case c.module != "":
		if !isModule(c.module) {
			return nil, usagef("-m: %q is no name of a module", c.module)
		}
		return []program{{module: c.module, argv: append([]string{"-m"}, args...), whole: true}}, nil
	case len(args) == 0:
		return nil, usagef("there is no program to run: give a FILE, - for standard input, -c CODE or -m MODULE (see: cellblock run --help)")
	case args[0] == "-":
		if c.stdin {
			return nil, usagef("- reads the program from standard input, which --stdin hands to the program: use one of them")
		}
		code, err := readStdin(c.app.In)
		return []program{{code: code, filename: "<stdin>", argv: args, whole: true}}, err
	}
	code, err := readProgram(args[0])
	return []program{{code: code, filename: scriptName(args[0]), argv: args, whole: true}}, err
}

// scriptName is the name by which tracebacks show a file. The REPL takes what
// begins with "<" for code that has no file.
func scriptName(path string) string {
	if strings.HasPrefix(path, "<") {
		return "./" + path
	}
	return path
}

// isModule says whether s is a dotted name. Names outside ASCII are left for
// Python to judge.
func isModule(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.ContainsAny(part, " \t\r\n/\\\x00") || strings.HasPrefix(part, "-") {
			return false
		}
	}
	return true
}

// endFlagsAfterModule writes "--" behind the -m MODULE of a `run`: what follows
// a module is its own, flags too, as it is for python. args may begin with any
// command; others are left alone.
func endFlagsAfterModule(args []string) []string {
	mentioned := func(arg string) bool { return strings.HasPrefix(arg, "-m") || strings.HasPrefix(arg, "--module") }
	if len(args) == 0 || args[0] != "run" || !slices.ContainsFunc(args, mentioned) {
		return args
	}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	(&runCommand{app: &app{}}).addFlags(flags)
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" || arg == "-" || !strings.HasPrefix(arg, "-") {
			return args // the program, or the end of the flags
		}
		name, _, joined := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		isModule := name == "module"
		var takesNext bool
		if strings.HasPrefix(arg, "--") {
			f := flags.Lookup(name)
			takesNext = f != nil && f.NoOptDefVal == "" && !joined
		} else {
			isModule = arg[1] == 'm'
			f := flags.ShorthandLookup(arg[1:2])
			takesNext = f != nil && f.NoOptDefVal == "" && len(arg) == 2
		}
		if takesNext {
			i++
		}
		if isModule && i < len(args) {
			end := append([]string{}, args[:i+1]...)
			return append(append(end, "--"), args[i+1:]...)
		}
	}
	return args
}
