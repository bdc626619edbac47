package mcp

import (
	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// annotations say to clients what a tool does to the world.
type annotations struct {
	readOnly  bool
	contained bool // changes the sandbox only, and nothing that cannot be made again
	again     bool // twice is as once
}

// of: no tool reaches beyond the sandbox, which has no network.
func (a annotations) of() *sdk.ToolAnnotations {
	open, destructive := false, !a.readOnly && !a.contained
	return &sdk.ToolAnnotations{ReadOnlyHint: a.readOnly, IdempotentHint: a.again || a.readOnly, DestructiveHint: &destructive, OpenWorldHint: &open}
}

// properties are those of an input's schema, by name.
type properties map[string]*jsonschema.Schema

func (p properties) bounded(name string, least, most float64) {
	p[name].Minimum, p[name].Maximum = &least, &most
}

func (p properties) examples(name string, examples ...any) { p[name].Examples = examples }

// inputSchema is the schema of a tool's input, from its type and what a type
// cannot say.
func inputSchema[T any](refine func(properties)) *jsonschema.Schema {
	schema, err := jsonschema.For[T](nil)
	if err != nil {
		panic("BUG(mcp): " + err.Error())
	}
	refine(schema.Properties)
	return schema
}

// outputSchema is the schema of structured content. Fields may be added later,
// and lists are never null.
func outputSchema[T any]() *jsonschema.Schema {
	schema, err := jsonschema.For[T](nil)
	if err != nil {
		panic("BUG(mcp): " + err.Error())
	}
	loosen(schema)
	return schema
}

func loosen(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 {
		s.AdditionalProperties = nil
	}
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	loosen(s.Items)
	for _, p := range s.Properties {
		loosen(p)
	}
}
