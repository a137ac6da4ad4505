// Command kelvin measures the temperature of machine-learning systems.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses, a contract for scripts (docs/commands/README.md).
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitFailOn = 3 // a --fail-on condition held
)

// Schema names the version of every JSON document this program prints.
const schema = "kelvin/v1"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns its exit status. Results go to
// stdout; progress, warnings and errors to stderr.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	root.SetArgs(args)
	root.Annotations = map[string]string{commandAnnotation: commandLine(args)}
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(stderr, "kelvin:", err)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errFailOn):
		return exitFailOn
	}
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "kelvin",
		Short:         "A thermometer for machine-learning systems",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          subcommand,
		RunE:          help,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { // before the hours, not after
			return canWriteBeside(htmlFile(cmd))
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	for _, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Start here:", []*cobra.Command{newDemoCommand()}},
		{"Read a model:", []*cobra.Command{newMeasureCommand(), newEngineCommand(), newCurvatureCommand(), newCompareCommand(), newSpectrumCommand(),
			newCalibrateCommand(), newDecodeCommand(), newDriftCommand()}},
		{"Watch training:", []*cobra.Command{newServeCommand(), newWatchCommand(), newTransitionsCommand(), newReportCommand(), newImportCommand()}},
		{"Sample at a temperature:", []*cobra.Command{newSampleCommand(), newCapacityCommand(), newLLCCommand()}},
		{"Case studies:", []*cobra.Command{newIsingCommand(), newEnergyCommand(), newCoolCommand(), newCollapseCommand()}},
		{"Data, training, closed forms:", []*cobra.Command{newDataCommand(), newTrainCommand(), newTheoryCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, c := range group.commands {
			c.GroupID = group.title
			root.AddCommand(c)
		}
	}
	return root
}

// version is that of the module, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}

// usageError marks an error in the command line itself: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef reports a wrong flag or argument.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errFailOn is wrapped by an error that reports a --fail-on condition.
var errFailOn = errors.New("--fail-on condition held")

// exactArgs is cobra.ExactArgs with the exit status of wrong usage.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usagef("%w (see %s --help)", err, cmd.CommandPath())
		}
		return nil
	}
}

// help and subcommand are what a command without an action of its own does.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	suggestion := ""
	cmd.SuggestionsMinimumDistance = 1 // a letter wrong, missing or too many
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		suggestion = fmt.Sprintf(", did you mean %s?", strings.Join(near, " or "))
	}
	return usagef("unknown command %q%s (see %s --help)", args[0], suggestion, cmd.CommandPath())
}

// printJSON writes one JSON document. Documents carry "schema": schema.
func printJSON(w io.Writer, document any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(document); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
