package mcp

import (
	"context"
	"fmt"
	"log"
	"os/exec"
	"path/filepath"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func Example() {
	dir, err := programs()
	if err != nil {
		log.Fatal(err)
	}
	ctx, cellblock := context.Background(), filepath.Join(dir, "cellblock")

	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: exec.Command(cellblock, "mcp")}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	for _, code := range []string{"x = 6", "x * 7"} {
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "run_python", Arguments: map[string]any{"code": code}})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.Content[0].(*mcp.TextContent).Text)
	}
	// Output:
	// (no output)
	// 42
}
