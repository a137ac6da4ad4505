package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/kelvin-ml/kelvin/cooling"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
)

type coolOptimiseFlags struct {
	chipFlags
	tec     string
	method  string
	seed    uint64
	options cooling.Options
}

func newCoolOptimiseCommand() *cobra.Command {
	var f coolOptimiseFlags
	c := &cobra.Command{
		Use:   "optimise --floorplan FILE --power FILE --tec MxN|FILE",
		Short: "The currents of thermoelectric coolers that make the hottest place coolest",
		Long: `Chooses which thermoelectric coolers to switch on, and at what current, so that the
peak temperature is as low as can be, and then the power; proves that no other
currents are better, or says how much better they could be. Coolers lie beside
the interface to the spreader: --tec 8x8 divides the chip into as many tiles of
bismuth telluride; a JSON file gives tiles and coolers of your own.`,
		Example: `  kelvin cool optimise --floorplan ev6.flp --power gcc.ptrace --config example.config --tec 8x8 --html coolers.html
  kelvin cool optimise --floorplan ev6.flp --power gcc.ptrace --tec tiles.json --max-power 5`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error { return runCoolOptimise(c, f) },
	}
	f.add(c)
	flags := c.Flags()
	flags.StringVar(&f.tec, "tec", "", "coolers: rows × columns of tiles, as in 8x8, or a JSON `file`")
	flags.Float64Var(&f.options.MaxPower, "max-power", 0, "watts that all coolers may draw together (default any)")
	flags.StringVar(&f.method, "method", "exact", "exact, or surrogate: a convolutional network, trained first, in place of the thermal network")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of the surrogate and of its search")
	flags.DurationVar(&f.options.Time, "proof", 2*time.Second, "time for the proof that nothing is better")
	return c
}

// coolOptimum is what kelvin cool optimise prints (docs/commands/cool.md).
type coolOptimum struct {
	Schema      string           `json:"schema"`
	Partial     bool             `json:"interrupted,omitempty"`
	Before      coolPeakOnly     `json:"before"`
	Off         coolPeakOnly     `json:"off"` // coolers in place, without current
	After       coolPeakOnly     `json:"after"`
	Tiles       []coolTile       `json:"tiles"`
	TECPower    float64          `json:"tec_power_w"`
	COP         *float64         `json:"cop"`
	AboveBefore float64          `json:"reduction_above_ambient"` // share of K above the ambient
	Celsius     float64          `json:"reduction_celsius"`       // share of °C
	Proved      bool             `json:"proved_optimal"`
	Bound       *float64         `json:"bound_k"`   // null of the surrogate, which proves nothing
	Surrogate   *coolSurrogate   `json:"surrogate"` // null of the exact method
	Residual    float64          `json:"residual"`  // of the heat balance, relative to the power
	Evaluations int              `json:"evaluations"`
	Findings    []thermo.Finding `json:"findings"`
	Seconds     float64          `json:"seconds"`
}

// coolSurrogate is how well the surrogate learned: root mean square errors on
// examples held out, and the peak it expected.
type coolSurrogate struct {
	Seed      uint64  `json:"seed"`
	Examples  int     `json:"examples"`
	Training  float64 `json:"training_seconds"`
	Error     float64 `json:"tile_error_k"`
	PeakError float64 `json:"peak_error_k"`
	Power     float64 `json:"tile_power_error_w"`
	Expected  float64 `json:"expected_peak_k"`
}

type coolPeakOnly struct {
	Kelvin float64 `json:"peak_k"`
}

type coolTile struct {
	Row     int     `json:"row"`
	Column  int     `json:"column"`
	Current float64 `json:"current_a"`
	Power   float64 `json:"power_w"`
	Taken   float64 `json:"taken_w"`
}

func runCoolOptimise(cmd *cobra.Command, f coolOptimiseFlags) error {
	f.model = "grid"
	switch {
	case f.tec == "":
		return usagef("expected --tec MxN or --tec FILE")
	case f.method != "exact" && f.method != "surrogate":
		return usagef("--method %s: expected exact or surrogate", f.method)
	case f.options.MaxPower < 0 || math.IsNaN(f.options.MaxPower):
		return usagef("--max-power %g: expected at least 0 W", f.options.MaxPower)
	case f.options.Time < 0:
		return usagef("--proof %v: expected at least 0s", f.options.Time)
	}
	f.options.Time = max(f.options.Time, 1) // 0 of the flag is no proof, 0 of the options one without end
	c, err := f.open()
	if err != nil {
		return err
	}
	tiles, err := f.tiles(c.model)
	if err != nil {
		return err
	}
	started := time.Now()
	a, err := cooling.NewArray(c.model, tiles, c.place(c.trace.Mean()))
	if err != nil {
		return err
	}
	s, learned, err := f.choose(cmd.Context(), a)
	if err != nil {
		return err
	}
	kelvin, _, residual, err := a.Temperatures(s.Currents)
	if err != nil {
		return err
	}
	seconds := time.Since(started).Seconds()
	off, _, _, err := a.Temperatures(make([]float64, len(tiles)))
	if err != nil {
		return err
	}
	offPeak, _ := c.model.Peak(off)
	d := newCoolOptimum(c, tiles, s, offPeak)
	d.Residual, d.Seconds, d.Surrogate = residual, seconds, learned
	for _, w := range c.model.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "kelvin: %s\n", w)
	}
	if err := writePage(cmd, func() report.Page { return d.page(c, tiles, a.Bare, kelvin) }); err != nil {
		return err
	}
	var interrupted error
	if s.Interrupted {
		interrupted = errors.New("interrupted: the currents are the best so far")
	}
	if f.asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), d), interrupted)
	}
	return errors.Join(d.print(cmd.OutOrStdout(), c.model.Config.Ambient), interrupted)
}

// What the surrogate learns from, and for how long.
const (
	surrogateExamples = 1500
	surrogateSteps    = 1200
)

// choose finds the currents by --method.
func (f *coolOptimiseFlags) choose(ctx context.Context, a *cooling.Array) (*cooling.Solution, *coolSurrogate, error) {
	if f.method == "exact" {
		s, err := cooling.Optimise(ctx, a, f.options)
		return s, nil, err
	}
	learned, err := cooling.TrainSurrogate(ctx, a, surrogateExamples, surrogateSteps, f.seed)
	if err != nil {
		return nil, nil, err
	}
	s, expected, err := learned.Optimise(ctx, a, f.options.MaxPower, f.seed)
	return s, &coolSurrogate{f.seed, learned.Examples, learned.Training.Seconds(), learned.Error, learned.PeakError, learned.Power, expected}, err
}

// tiles reads --tec.
func (f *coolOptimiseFlags) tiles(m *cooling.Model) ([]cooling.Tile, error) {
	var rows, columns int
	if n, err := fmt.Sscanf(f.tec+"\n", "%dx%d\n", &rows, &columns); n == 2 && err == nil {
		if rows < 1 || columns < 1 || rows*columns > 1024 || rows > m.Rows || columns > m.Cols {
			return nil, usagef("--tec %s: expected 1 to 1024 tiles, and no more rows and columns than the %d × %d cells of the grid", f.tec, m.Rows, m.Cols)
		}
		return cooling.Regular(rows, columns, m.Width, m.Height), nil
	}
	return cooling.OpenTiles(f.tec)
}

func newCoolOptimum(c *chip, tiles []cooling.Tile, s *cooling.Solution, off float64) *coolOptimum {
	ambient := c.model.Config.Ambient
	d := &coolOptimum{Schema: schema, Partial: s.Interrupted, Before: coolPeakOnly{s.Before}, Off: coolPeakOnly{off}, After: coolPeakOnly{s.After},
		Proved: s.Proved, Bound: defined(s.Bound), Evaluations: s.Evaluations, Tiles: []coolTile{}, Findings: []thermo.Finding{},
		AboveBefore: (s.Before - s.After) / (s.Before - ambient), Celsius: (s.Before - s.After) / (s.Before - 273.15)}
	taken := 0.0
	for k, t := range tiles {
		d.Tiles = append(d.Tiles, coolTile{t.Row, t.Column, s.Currents[k], s.Power[k], s.Taken[k]})
		if s.Currents[k] > 0 {
			d.TECPower += s.Power[k]
			taken += s.Taken[k]
		}
	}
	if d.TECPower > 0 {
		cop := taken / d.TECPower
		d.COP = &cop
	}
	switch {
	case s.After > s.Before:
		d.Findings = append(d.Findings, thermo.Finding{ID: "worse-than-without", Severity: thermo.Warning, Confidence: 1,
			What:     fmt.Sprintf("the coolers make the peak worse even at these currents: %.2f K, and %.2f K without coolers", s.After, s.Before),
			Evidence: fmt.Sprintf("off, they raise it to %.2f K: their legs conduct less than the interface material that they replace", off),
			Change:   "leave them out, or let them draw more power"})
	case off > s.Before:
		d.Findings = append(d.Findings, thermo.Finding{ID: "worse-when-off", Severity: thermo.Info, Confidence: 1,
			What:     fmt.Sprintf("coolers that are off make the peak worse: %.2f K, and %.2f K without coolers", off, s.Before),
			Evidence: "their legs conduct less than the interface material that they replace", Change: "never let the chip work this hard without their currents"})
	}
	if n := len(s.Harmful); n > 0 {
		t := tiles[s.Harmful[0]]
		d.Findings = append(d.Findings, thermo.Finding{ID: "harmful-coolers", Severity: thermo.Warning, Confidence: 1,
			What:     fmt.Sprintf("%d of %d coolers would make the peak worse at any current, and are off", n, len(tiles)),
			Evidence: fmt.Sprintf("of their first, in row %d, column %d, the heat it would give off raises the peak by more than what it takes lowers it", t.Row, t.Column),
			Change:   "leave them out, or place coolers nearer to the hot spots"})
	}
	if !s.Proved && d.Bound != nil {
		d.Findings = append(d.Findings, thermo.Finding{ID: "not-proved", Severity: thermo.Info, Confidence: 1,
			What:     fmt.Sprintf("no currents bring the peak below %.3f K; these reach %.3f K", s.Bound, s.After),
			Evidence: fmt.Sprintf("%d boxes of currents were bounded", s.Nodes), Change: "give --proof more time, if the difference matters"})
	}
	return d
}

func (d *coolOptimum) proof() string {
	switch {
	case d.Proved:
		return fmt.Sprintf("proved: nothing is cooler by %g K", cooling.Tolerance)
	case d.Bound != nil:
		return fmt.Sprintf("not proved: nothing is below %.3f K", *d.Bound)
	}
	return "not proved"
}

func (d *coolOptimum) print(out io.Writer, ambient float64) error {
	fmt.Fprintf(out, "peak %.2f K without coolers, %.2f K with coolers that are off, %.2f K with the best currents\n", d.Before.Kelvin, d.Off.Kelvin, d.After.Kelvin)
	fmt.Fprintf(out, "that is %.1f %% of the %.2f K above the ambient, %.1f %% of the °C\n", 100*d.AboveBefore, d.Before.Kelvin-ambient, 100*d.Celsius)
	if l := d.Surrogate; l != nil {
		fmt.Fprintf(out, "chosen by a surrogate, trained in %.1f s on %d examples, seed %d: its errors are %.2f K of a tile, %.2f K of the peak, %.3f W; it expected %.2f K\n",
			l.Training, l.Examples, l.Seed, l.Error, l.PeakError, l.Power, l.Expected)
	}
	fmt.Fprintf(out, "coolers draw %.3f W, coefficient of performance %s; %s; %.2g s, %d solutions\n\n", d.TECPower, orDash("%.2f", d.COP), d.proof(), d.Seconds, d.Evaluations)
	t := report.Table{Columns: []string{"row", "column", "current (A)", "power (W)", "heat taken (W)"}}
	for _, tile := range d.Tiles {
		if tile.Current > 0 {
			t.Rows = append(t.Rows, []string{fmt.Sprint(tile.Row), fmt.Sprint(tile.Column), fmt.Sprintf("%.3f", tile.Current), fmt.Sprintf("%.4f", tile.Power), fmt.Sprintf("%.4f", tile.Taken)})
		}
	}
	if err := t.Print(out); err != nil {
		return err
	}
	return printFindings(out, d.Findings)
}

func (d *coolOptimum) page(c *chip, tiles []cooling.Tile, before, after []float64) report.Page {
	currents := report.FloorMap{Caption: "Current of every cooler.", Unit: "current (A)", Width: 1e3 * c.model.Width, Height: 1e3 * c.model.Height}
	for k, t := range tiles {
		name := ""
		if d.Tiles[k].Current > 0 {
			name = fmt.Sprintf("%.2f", d.Tiles[k].Current)
		}
		currents.Areas = append(currents.Areas, report.Area{Name: name, X: 1e3 * t.X, Y: 1e3 * t.Y, Width: 1e3 * t.Width, Height: 1e3 * t.Height, Value: d.Tiles[k].Current})
	}
	charts := append(c.maps(before, ", without coolers", after), c.maps(after, ", with coolers", before)...)
	page := report.Page{Title: "Thermoelectric coolers", Lead: fmt.Sprintf("The peak falls from %.2f K to %.2f K for %.3f W.", d.Before.Kelvin, d.After.Kelvin, d.TECPower),
		Facts: []report.Fact{{Label: "peak with coolers off", Value: fmt.Sprintf("%.2f K", d.Off.Kelvin)},
			{Label: "reduction", Value: fmt.Sprintf("%.1f %% of the K above the ambient, %.1f %% of the °C", 100*d.AboveBefore, 100*d.Celsius)},
			{Label: "coefficient of performance", Value: orDash("%.2f", d.COP)}, {Label: "proof", Value: d.proof()}},
		Findings: d.Findings, Sections: []report.Section{{Title: "Currents", Charts: append(charts[:0:0], currents)}, {Title: "Temperatures", Shows: []string{"worse-than-without", "worse-when-off", "not-proved"}, Charts: charts}}}
	return page
}
