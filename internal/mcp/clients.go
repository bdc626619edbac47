package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// TokenVariable is the environment variable in which clients are told to look
// for a service's token.
const TokenVariable = "CELLBLOCK_TOKEN"

// Launch is how a client is to reach a server.
type Launch struct {
	Name    string
	Command string // the program, by its whole path: clients have a PATH of their own
	Args    []string
	URL     string // of a service, instead of a program
}

// client is a program that uses MCP servers.
type client struct {
	name  string
	where string // its settings belong
	local func(Launch) string
	http  func(Launch) string // nil: it takes no servers over HTTP from a file
}

// entry is a server in the form that most clients share.
type entry struct {
	Type    string            `json:"type,omitempty"`
	Source  string            `json:"source,omitempty"`
	Command string            `json:"command,omitempty"`
	Args    []string          `json:"args,omitempty"`
	URL     string            `json:"url,omitempty"`
	HTTPURL string            `json:"httpUrl,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Timeout int               `json:"timeout,omitempty"`
}

// clients are those whose settings are known.
var clients = []client{
	{"claude-desktop", "merge into claude_desktop_config.json (Settings, Developer, Edit Config) and restart Claude", servers("mcpServers", entry{}), nil},
	{"claude-code", "run this in the project, or with --scope user for all projects", claudeCode, claudeCodeHTTP},
	{"cursor", "merge into ~/.cursor/mcp.json, or .cursor/mcp.json of a project", servers("mcpServers", entry{}), remote("mcpServers", "", "${env:%s}")},
	{"vscode", "merge into .vscode/mcp.json of a workspace, or the file that \"MCP: Open User Configuration\" opens", servers("servers", entry{Type: "stdio"}), remote("servers", "http", "${env:%s}")},
	{"codex", "append to ~/.codex/config.toml", codex, codexHTTP},
	{"gemini-cli", "merge into ~/.gemini/settings.json, or .gemini/settings.json of a project", servers("mcpServers", entry{Timeout: 600_000}), geminiHTTP},
	{"windsurf", "merge into ~/.codeium/windsurf/mcp_config.json", servers("mcpServers", entry{}), nil},
	{"zed", "merge into Zed's settings.json", servers("context_servers", entry{Source: "custom"}), nil},
	{"json", "the form that most other clients take", servers("mcpServers", entry{}), remote("mcpServers", "http", "${%s}")},
}

// Clients are the names of the clients.
func Clients() []string {
	names := make([]string, len(clients))
	for i, c := range clients {
		names[i] = c.name
	}
	return names
}

// Settings are what a client wants to read, and where.
func (l Launch) Settings(name string) (text, where string, err error) {
	for _, c := range clients {
		switch {
		case c.name != name:
		case l.URL == "":
			return c.local(l), c.where, nil
		case c.http == nil:
			return "", "", fmt.Errorf("%s takes a service only through its own windows: let it start the program instead, without --url", name)
		default:
			return c.http(l), c.where + "; the token goes into the environment variable " + TokenVariable, nil
		}
	}
	return "", "", fmt.Errorf("%q is none of %s", name, strings.Join(Clients(), ", "))
}

func servers(key string, like entry) func(Launch) string {
	return func(l Launch) string {
		e := like
		e.Command, e.Args = l.Command, l.Args
		return indented(map[string]any{key: map[string]entry{l.Name: e}})
	}
}

func remote(key, kind, variable string) func(Launch) string {
	return func(l Launch) string {
		e := entry{Type: kind, URL: l.URL, Headers: bearer(variable)}
		return indented(map[string]any{key: map[string]entry{l.Name: e}})
	}
}

func bearer(variable string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + fmt.Sprintf(variable, TokenVariable)}
}

func geminiHTTP(l Launch) string {
	e := entry{HTTPURL: l.URL, Headers: bearer("$%s"), Timeout: 600_000}
	return indented(map[string]any{"mcpServers": map[string]entry{l.Name: e}})
}

func claudeCode(l Launch) string {
	words := append([]string{"claude", "mcp", "add", l.Name, "--", l.Command}, l.Args...)
	for i, w := range words {
		words[i] = quoted(w)
	}
	return strings.Join(words, " ")
}

func claudeCodeHTTP(l Launch) string {
	return fmt.Sprintf(`claude mcp add --transport http %s %s --header "Authorization: Bearer $%s"`, quoted(l.Name), quoted(l.URL), TokenVariable)
}

// codex waits 60 seconds for a tool if it is told nothing.
func codex(l Launch) string {
	return fmt.Sprintf("[mcp_servers.%s]\ncommand = %s\nargs = %s\ntool_timeout_sec = 600", tomlKey(l.Name), inJSON(l.Command), inJSON(l.Args))
}

func codexHTTP(l Launch) string {
	return fmt.Sprintf("[mcp_servers.%s]\nurl = %s\nbearer_token_env_var = %s\ntool_timeout_sec = 600", tomlKey(l.Name), inJSON(l.URL), inJSON(TokenVariable))
}

// tomlKey quotes what is no bare key.
func tomlKey(s string) string {
	if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == "" && s != "" {
		return s
	}
	return inJSON(s)
}

// quoted makes one word for a shell.
func quoted(s string) string {
	if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:,=@%+") == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// inJSON is also how TOML writes strings and lists of them.
func inJSON(v any) string { return strings.TrimSuffix(encoded(v, ""), "\n") }

func indented(v any) string { return strings.TrimSuffix(encoded(v, "  "), "\n") }

func encoded(v any, indent string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		panic("BUG(mcp): " + err.Error())
	}
	return b.String()
}
