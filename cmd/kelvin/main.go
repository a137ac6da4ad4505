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
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newCalibrateCommand(),
		newCapacityCommand(),
		newCollapseCommand(),
		newCompareCommand(),
		newCoolCommand(),
		newCurvatureCommand(),
		newDataCommand(),
		newDecodeCommand(),
		newDemoCommand(),
		newDriftCommand(),
		newEnergyCommand(),
		newEngineCommand(),
		newImportCommand(),
		newIsingCommand(),
		newLLCCommand(),
		newMeasureCommand(),
		newReportCommand(),
		newSampleCommand(),
		newServeCommand(),
		newSpectrumCommand(),
		newTheoryCommand(),
		newTrainCommand(),
		newTransitionsCommand(),
		newWatchCommand(),
		// one line per subcommand, alphabetical
	)
	return root
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
