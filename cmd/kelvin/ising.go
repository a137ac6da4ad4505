package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/ising"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

func newIsingCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ising",
		Short: "Simulate the Ising model, learn its critical temperature, read temperatures off spins",
		Args:  subcommand,
		RunE:  help,
	}
	cmd.AddCommand(newIsingRunCommand(), newIsingLearnCommand(), newIsingThermometerCommand())
	return cmd
}

// isingRunDocument is what ising run prints with --json.
type isingRunDocument struct {
	Schema    string          `json:"schema"`
	Size      int             `json:"size"`
	Lattice   ising.Lattice   `json:"lattice"`
	Coupling  float64         `json:"coupling"`
	Field     float64         `json:"field"`
	Seed      uint64          `json:"seed"`
	Algorithm ising.Algorithm `json:"algorithm"`
	Warmup    int             `json:"warmup"`
	Replicas  int             `json:"replicas"`
	Sweeps    int             `json:"sweeps"`
	Done      int             `json:"sweeps_done"` // less than sweeps when interrupted
	Points    []ising.Point   `json:"points"`
}

// isingRunFlags are the flags of ising run.
type isingRunFlags struct {
	config          ising.Config
	lattice         string
	algorithm       string
	start           string
	out, checkpoint string
	ownWarmup       bool
	json            bool
}

func newIsingRunCommand() *cobra.Command {
	var f isingRunFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Simulate an L×L torus and measure energy, magnetisation, specific heat, susceptibility",
		Long: `Simulate the Ising model, E = −J Σ ss' − H Σ s, on an L×L torus at one or more
temperatures (k_B = 1) and measure, per spin and with errors that count the
correlation of the series: energy, |magnetisation|, specific heat,
susceptibility, the Binder cumulant, and the temperature read back from the
final configurations alone.

Interrupted, it prints what was measured until then. With --checkpoint FILE the
run is saved there, and goes on from there when started again, bit for bit.`,
		Example: `  kelvin ising run --size 64 --temperature 2,2.269,2.5 --sweeps 20000 --replicas 64
  kelvin ising run --size 4096 --temperature 2.3 --sweeps 1000 --out spins.npz --json`,
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.config.Model.Size, "size", 64, "L, an even number from 4 to 65536")
	f.config.Temperatures = []float64{ising.Tc}
	flags.Var((*numberList)(&f.config.Temperatures), "temperature", "temperatures, comma separated")
	flags.IntVar(&f.config.Sweeps, "sweeps", 10000, "sweeps to measure in")
	flags.IntVar(&f.config.Warmup, "warmup", -1, "sweeps before the first measurement (default: a tenth of --sweeps, more where the start is forgotten slowly)")
	flags.IntVar(&f.config.Interval, "interval", 1, "sweeps from one measurement to the next")
	flags.StringVar(&f.algorithm, "algorithm", string(ising.Metropolis), "metropolis, heatbath, wolff or sw")
	flags.IntVar(&f.config.Replicas, "replicas", 1, "independent replicas at each temperature")
	flags.StringVar(&f.lattice, "lattice", string(ising.Square), "square, triangular or honeycomb")
	flags.Float64Var(&f.config.Model.Coupling, "coupling", 1, "J; negative for an antiferromagnet")
	flags.Float64Var(&f.config.Model.Field, "field", 0, "H")
	flags.StringVar(&f.start, "start", "cold", "cold (ordered) or hot (random)")
	flags.Uint64Var(&f.config.Seed, "seed", 1, "seed of the random streams")
	flags.StringVar(&f.out, "out", "", "write the final configurations to this npz file")
	flags.StringVar(&f.checkpoint, "checkpoint", "", "save the run to this file, and resume from it")
	addHTMLFlag(cmd)
	flags.BoolVar(&f.json, "json", false, "print one JSON document")
	return cmd
}

// numberList is a flag of numbers, comma separated.
type numberList []float64

func (l *numberList) Type() string { return "numbers" }

func (l *numberList) String() string {
	text := make([]string, len(*l))
	for i, x := range *l {
		text[i] = strconv.FormatFloat(x, 'g', 7, 64)
	}
	return strings.Join(text, ",")
}

func (l *numberList) Set(text string) error {
	*l = nil
	for _, field := range strings.Split(text, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil {
			return fmt.Errorf("%q: expected numbers, comma separated", field)
		}
		*l = append(*l, x)
	}
	return nil
}

func (f *isingRunFlags) run(cmd *cobra.Command) error {
	f.config.Model.Lattice, f.config.Algorithm = ising.Lattice(f.lattice), ising.Algorithm(f.algorithm)
	if f.start != "cold" && f.start != "hot" {
		return usagef("--start %q: expected cold or hot", f.start)
	}
	f.config.Hot = f.start == "hot"
	f.ownWarmup = cmd.Flags().Changed("warmup")
	if !f.ownWarmup {
		f.config.Warmup = 0 // so that the rest is checked
		if err := f.config.Validate(); err != nil {
			return usageError{err}
		}
		// Local rules near Tc may need more than anyone wants to wait for.
		f.config.Warmup = max(f.config.Sweeps/10, min(f.config.LeastWarmup(), 10*f.config.Sweeps))
	}
	if err := f.config.Validate(); err != nil {
		return usageError{err}
	}
	for _, path := range []string{f.out, f.checkpoint} { // before the hours, not after
		if err := canWriteBeside(path); err != nil {
			return err
		}
	}
	s, err := f.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	interrupted := f.advance(cmd, s)
	if interrupted != nil && !errors.Is(interrupted, ising.ErrInterrupted) {
		return interrupted
	}
	if f.checkpoint != "" {
		if err := s.Save(f.checkpoint); err != nil {
			return err
		}
	}
	if f.out != "" {
		if err := s.WriteNPZ(f.out); err != nil {
			return err
		}
	}
	points := s.Points()
	if len(points) > 0 {
		if err := writePage(cmd, func() report.Page { return isingRunPage(s, points) }); err != nil {
			return err
		}
	}
	if len(points) > 0 || f.json {
		if err := f.print(cmd.OutOrStdout(), s, points); err != nil {
			return err
		}
	}
	switch {
	case interrupted == nil:
		return nil
	case len(points) == 0:
		return fmt.Errorf("interrupted in the warm-up, after %d of %d sweeps: nothing was measured", s.Done(), s.Total())
	}
	return fmt.Errorf("interrupted after %d of %d sweeps", s.Done(), s.Total())
}

// open resumes from the checkpoint if there is one, else begins.
func (f *isingRunFlags) open(stderr io.Writer) (*ising.Simulation, error) {
	if f.checkpoint != "" {
		s, err := ising.Load(f.checkpoint)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return nil, err
		case f.extends(s.Config):
			fmt.Fprintf(stderr, "resuming after %d of %d sweeps, %d more than were asked for\n", s.Done(), f.config.Sweeps+s.Config.Warmup, f.config.Sweeps-s.Config.Sweeps)
			return s, s.Extend(f.config.Sweeps)
		case !reflect.DeepEqual(s.Config, f.config):
			return nil, fmt.Errorf("%s holds another run: %s", f.checkpoint, isingDifference(s.Config, f.config))
		default:
			fmt.Fprintf(stderr, "resuming after %d of %d sweeps\n", s.Done(), s.Total())
			return s, nil
		}
	}
	return ising.New(f.config)
}

// extends reports whether the run is a saved one with more sweeps.
func (f *isingRunFlags) extends(saved ising.Config) bool {
	asked := f.config
	if asked.Sweeps <= saved.Sweeps {
		return false
	}
	asked.Sweeps = saved.Sweeps
	if !f.ownWarmup {
		asked.Warmup = saved.Warmup
	}
	return reflect.DeepEqual(saved, asked)
}

// isingDifference names the first flag in which a saved run differs.
func isingDifference(saved, asked ising.Config) string {
	values := func(c ising.Config) []any {
		start := map[bool]string{false: "cold", true: "hot"}[c.Hot]
		return []any{c.Model.Size, c.Temperatures, c.Sweeps, c.Warmup, c.Interval, c.Algorithm, c.Replicas,
			c.Model.Lattice, c.Model.Coupling, c.Model.Field, start, c.Seed}
	}
	names := []string{"size", "temperature", "sweeps", "warmup", "interval", "algorithm", "replicas",
		"lattice", "coupling", "field", "start", "seed"}
	a, b := values(saved), values(asked)
	for i, name := range names {
		if !reflect.DeepEqual(a[i], b[i]) {
			return fmt.Sprintf("--%s %v, not %v", name, a[i], b[i])
		}
	}
	return "of another format"
}

// canWriteBeside fails where a file cannot be written; no path is no file.
func canWriteBeside(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("writing %s: it is a folder", path)
	}
	probe, err := os.CreateTemp(filepath.Dir(path), ".kelvin-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, errors.Unwrap(err))
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// advance runs in steps, to show progress and to save every half minute.
func (f *isingRunFlags) advance(cmd *cobra.Command, s *ising.Simulation) error {
	show := progress(cmd.ErrOrStderr(), "sweeps")
	saved := time.Now()
	step := max(1, s.Total()/200)
	for s.Done() < s.Total() {
		if err := s.Advance(cmd.Context(), s.Done()+step); err != nil {
			return err
		}
		show(s.Done(), s.Total())
		if f.checkpoint != "" && time.Since(saved) > 30*time.Second {
			if err := s.Save(f.checkpoint); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	return nil
}

func (f *isingRunFlags) print(w io.Writer, s *ising.Simulation, points []ising.Point) error {
	c := s.Config
	if f.json {
		if points == nil {
			points = []ising.Point{} // an empty list, not null
		}
		return printJSON(w, isingRunDocument{schema, c.Model.Size, c.Model.Lattice, c.Model.Coupling, c.Model.Field,
			c.Seed, c.Algorithm, c.Warmup, c.Replicas, c.Sweeps, max(0, s.Done()-c.Warmup), points})
	}
	fmt.Fprintf(w, "%s %d×%d, J = %g, H = %g: %s, %s, %d sweeps after %d of warm-up, seed %d\n",
		c.Model.Lattice, c.Model.Size, c.Model.Size, c.Model.Coupling, c.Model.Field, c.Algorithm, isingReplicas(c.Replicas), max(0, s.Done()-c.Warmup), c.Warmup, c.Seed)
	if points[0].Order == "staggered" {
		fmt.Fprintln(w, "magnetisation, susceptibility and Binder are of the staggered magnetisation, the order of an antiferromagnet")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "temperature\tenergy\t|magnetisation|\tspecific heat\tsusceptibility\tBinder\tmeasured T\tflips/ns")
	var notes []isingNote
	for _, p := range points {
		fmt.Fprintf(tw, "%.6g", p.Temperature)
		for _, r := range []thermo.Reading{p.Energy, p.AbsMagnetisation, p.SpecificHeat, p.Susceptibility, p.Binder, p.MeasuredTemperature} {
			mark := ""
			if !r.Valid() {
				mark = " (!)"
				notes = addNote(notes, p.Temperature, r)
			}
			text := thermo.FormatError(r.Value, r.StdErr)
			if math.IsNaN(r.Value) {
				text = "none"
			}
			fmt.Fprintf(tw, "\t%s%s", text, mark)
		}
		fmt.Fprintf(tw, "\t%.3g\n", p.FlipsPerNs)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintf(w, "(!) T = %.6g, %s: %s\n", n.temperature, strings.Join(n.names, ", "), n.reason)
	}
	return nil
}

// isingNote is one reason why some readings of a temperature are not valid.
type isingNote struct {
	temperature float64
	names       []string
	reason      string
}

// addNote adds a reading that is not valid to the note of its reason.
func addNote(notes []isingNote, temperature float64, r thermo.Reading) []isingNote {
	name := strings.ReplaceAll(r.Name, "_", " ")
	if name == "likelihood" {
		name = "measured T"
	}
	for i := range notes {
		if notes[i].temperature == temperature && notes[i].reason == r.Invalid {
			notes[i].names = append(notes[i].names, name)
			return notes
		}
	}
	return append(notes, isingNote{temperature, []string{name}, r.Invalid})
}

func isingReplicas(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}
