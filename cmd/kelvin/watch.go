package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kelvin-ml/kelvin/monitor"
	runs "github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// watchFlags are the flags of kelvin watch.
type watchFlags struct {
	failOn   []string
	webhook  string
	interval time.Duration
	once     bool
	asJSON   bool
}

func newWatchCommand() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch RUN",
		Short: "Temperature and findings of a training run, while it goes on",
		Long: `Reads the records of a run: the temperature of every layer with its error, whether
the run is in equilibrium, work efficiency, and what is wrong, each finding with
its evidence and one change to try. A run that a process still writes is
followed until it ends; any other is read once.

RUN is a folder that the PyTorch probe, kelvin train or any other program wrote.`,
		Example: `  kelvin watch runs/a
  kelvin watch runs/a --fail-on divergence,dead-units
  kelvin watch runs/a --fail-on warning --webhook https://hooks.example.com/kelvin`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runWatch(cmd, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.failOn, "fail-on", nil, "exit with status 3 at these `findings`, at a severity (info, warning, critical) or at any finding")
	flags.StringVar(&f.webhook, "webhook", "", "POST every new finding to this `URL`, as JSON")
	flags.DurationVar(&f.interval, "interval", 2*time.Second, "how often to look")
	flags.BoolVar(&f.once, "once", false, "read what there is and do not wait for more")
	addHTMLFlag(cmd)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document, at the end")
	return cmd
}

func runWatch(cmd *cobra.Command, dir string, f watchFlags) error {
	if f.interval < 10*time.Millisecond {
		return usagef("--interval %v: expected at least 10ms", f.interval)
	}
	for _, name := range f.failOn {
		if !slices.Contains(failures, name) {
			return usagef("--fail-on %s: expected one of %s", name, strings.Join(failures, ", "))
		}
	}
	if f.webhook != "" {
		if err := checkWebhook(f.webhook); err != nil {
			return usagef("--webhook: %w", err)
		}
	}
	follower, err := runs.Follow(dir)
	if err != nil {
		return err
	}
	w := watcher{flags: f, dir: dir, out: cmd.OutOrStdout(), warn: cmd.ErrOrStderr(), monitor: monitor.New(), seen: map[string]bool{}}
	file, ok := w.out.(*os.File)
	w.screen = ok && !f.asJSON && term.IsTerminal(int(file.Fd()))
	err = w.follow(cmd.Context(), follower)
	if html := htmlFile(cmd); html != "" {
		err = errors.Join(err, writeRunPage(cmd, dir, html, cmd.ErrOrStderr()))
	}
	document := newWatchDocument(dir, w.state, w.report)
	if f.asJSON {
		return errors.Join(printJSON(w.out, document), err)
	}
	if w.screen && w.live {
		fmt.Fprint(w.out, clearScreen)
	}
	return errors.Join(document.print(w.out), err)
}

const clearScreen = "\x1b[H\x1b[2J" // and the cursor to the top

// failures are what --fail-on takes: severities, and the findings there are.
var failures = append([]string{"finding", "info", "warning", "critical"}, monitor.IDs...)

// A watcher follows one run.
type watcher struct {
	flags     watchFlags
	dir       string
	out, warn io.Writer
	screen    bool // out is a terminal, to be drawn over
	monitor   *monitor.Monitor
	seen      map[string]bool // findings told of

	report monitor.Report
	state  runs.State
	live   bool // the run went on while it was watched
}

// follow reads the run until it ends, ctx ends, or a --fail-on condition holds.
func (w *watcher) follow(ctx context.Context, follower *runs.Follower) error {
	for {
		summary, err := runs.Summarise(w.dir) // before reading: a run that ends now is read once more
		if err != nil {
			return err
		}
		w.state = summary.State
		if err := w.read(follower); err != nil {
			return err
		}
		w.report = w.monitor.Report()
		waiting := w.state == runs.Running && !w.flags.once
		if waiting && w.screen {
			w.live = true
			fmt.Fprint(w.out, clearScreen)
			if err := newWatchDocument(w.dir, w.state, w.report).print(w.out); err != nil {
				return err
			}
		}
		if err := w.tell(ctx, waiting); err != nil || !waiting {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // whoever watches may stop watching
		case <-time.After(w.flags.interval):
		}
	}
}

func (w *watcher) read(follower *runs.Follower) error {
	records := follower.Next
	if w.state != runs.Running {
		records = follower.End
	}
	for record, err := range records() {
		var bad *runs.LineError
		var torn *runs.TornError
		switch {
		case err == nil:
			w.monitor.Add(record)
		case errors.As(err, &bad), errors.As(err, &torn):
			w.monitor.Damaged(err)
		default:
			return err
		}
	}
	return nil
}

// tell passes on the findings that are new.
func (w *watcher) tell(ctx context.Context, waiting bool) error {
	var held error
	for _, f := range w.report.Findings {
		if held == nil && fails(f, w.flags.failOn) {
			held = fmt.Errorf("%w: %s at step %d", errFailOn, f.ID, w.report.Step)
		}
		key := f.ID + " " + f.Group
		if w.seen[key] {
			continue
		}
		w.seen[key] = true
		if waiting && !w.screen && !w.flags.asJSON {
			fmt.Fprintf(w.out, "step %d: ", w.report.Step)
			if err := printFinding(w.out, f); err != nil {
				return err
			}
		}
		if w.flags.webhook != "" {
			if err := postFinding(ctx, w.flags.webhook, w.dir, w.report.Step, f); err != nil {
				fmt.Fprintf(w.warn, "kelvin: telling of %s: %v\n", f.ID, err)
			}
		}
	}
	return held
}

// fails reports whether a finding is one of those to fail on.
func fails(f thermo.Finding, conditions []string) bool {
	rank := []thermo.Severity{thermo.Info, thermo.Warning, thermo.Critical}
	for _, c := range conditions {
		if i := slices.Index(rank, thermo.Severity(c)); c == "finding" || c == f.ID || i >= 0 && slices.Index(rank, f.Severity) >= i {
			return true
		}
	}
	return false
}
