package mcp

import (
	"context"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	resetDescription     = `Start anew: all variables and imports of this conversation's sandbox are gone. Files are kept unless delete_files is true. Code that still runs is stopped first.`
	interruptDescription = `Stop the code that a run_python call of this conversation is running now, as Ctrl-C would: that call returns with what was printed so far, and variables are kept. Calls that wait for their turn are dropped.`
)

// stopTime bounds the wait for code that was told to stop; the executor kills
// it long before.
const stopTime = 15 * time.Second

type resetInput struct {
	DeleteFiles bool `json:"delete_files,omitempty" jsonschema:"delete the files of the workspace too"`
}

// ResetOutput is the structured content of reset.
type ResetOutput struct {
	FilesDeleted bool `json:"files_deleted"`
}

type noInput struct{}

// InterruptOutput is the structured content of interrupt.
type InterruptOutput struct {
	Interrupted int `json:"interrupted" jsonschema:"how many run_python calls were stopped or dropped"`
}

func (s *Server) addControl() {
	sdk.AddTool(s.sdk, &sdk.Tool{
		Name: "reset", Title: "Reset the sandbox", Description: resetDescription,
		Annotations:  annotations{again: true}.of(),
		OutputSchema: outputSchema[ResetOutput](),
	}, s.reset)
	sdk.AddTool(s.sdk, &sdk.Tool{
		Name: "interrupt", Title: "Interrupt", Description: interruptDescription,
		Annotations:  annotations{contained: true, again: true}.of(),
		OutputSchema: outputSchema[InterruptOutput](),
	}, s.interrupt)
}

func (s *Server) reset(ctx context.Context, req *sdk.CallToolRequest, in resetInput) (*sdk.CallToolResult, *ResetOutput, error) {
	if err := s.conversation(req.Session).reset(ctx, in.DeleteFiles); err != nil {
		return nil, nil, err
	}
	if in.DeleteFiles {
		return said("The sandbox is as new: no variables, no files."), &ResetOutput{true}, nil
	}
	return said("Variables and imports are gone; files are kept."), &ResetOutput{false}, nil
}

func (s *Server) interrupt(ctx context.Context, req *sdk.CallToolRequest, _ noInput) (*sdk.CallToolResult, *InterruptOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	n := s.conversation(req.Session).interrupt(ctx)
	if n == 0 {
		return said("Nothing was running."), &InterruptOutput{}, nil
	}
	return said("%d call(s) of run_python were stopped.", n), &InterruptOutput{n}, nil
}
