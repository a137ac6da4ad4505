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
	"github.com/spf13/cobra"
)

// chipFlags say what chip to look at.
type chipFlags struct {
	floorplan, power, config, materials, layers, model, grid string
	asJSON                                                   bool
}

func newCoolCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cool",
		Short: "The temperature of a chip in kelvins, and thermoelectric coolers on it",
		Args:  subcommand,
		RunE:  help,
	}
	c.AddCommand(newCoolMapCommand(), newCoolOptimiseCommand())
	return c
}

func (f *chipFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.floorplan, "floorplan", "", "blocks of the die: name, width, height, x, y in metres (`flp`)")
	flags.StringVar(&f.power, "power", "", "power of every block over time, in watts (`ptrace`)")
	flags.StringVar(&f.config, "config", "", "package and environment (HotSpot's `config`; default HotSpot's own values)")
	flags.StringVar(&f.materials, "materials", "", "`materials` that config and layers name")
	flags.StringVar(&f.layers, "layers", "", "stack of layers (`lcf`), in place of --floorplan")
	flags.StringVar(&f.grid, "grid", "", "rows × columns of the grid model, as in 64x64 (default that of the config)")
	addHTMLFlag(c)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
}

// A chip is what the flags describe.
type chip struct {
	model  *cooling.Model
	layers []cooling.Layer
	trace  *cooling.Trace
	place  func([]float64) []float64
}

// open reads the files. model is "block", "grid" or, for the default, empty.
func (f *chipFlags) open() (*chip, error) {
	switch {
	case f.power == "":
		return nil, usagef("expected --power FILE")
	case (f.floorplan == "") == (f.layers == ""):
		return nil, usagef("expected either --floorplan FILE or --layers FILE")
	case f.model != "" && f.model != "block" && f.model != "grid":
		return nil, usagef("--model %s: expected block or grid", f.model)
	case f.model == "block" && (f.layers != "" || f.grid != ""):
		return nil, usagef("--model block has neither layers nor a grid")
	}
	materials := map[string]cooling.Material{}
	var err error
	if f.materials != "" {
		if materials, err = cooling.OpenMaterials(f.materials); err != nil {
			return nil, err
		}
	}
	config := cooling.DefaultConfig()
	if f.config != "" {
		read, err := cooling.OpenConfig(f.config, materials)
		if err != nil {
			return nil, err
		}
		config = *read
	}
	if f.grid != "" {
		if n, err := fmt.Sscanf(f.grid+"\n", "%dx%d\n", &config.Rows, &config.Cols); n != 2 || err != nil || config.Rows < 1 || config.Cols < 1 || config.Rows > 4096 || config.Cols > 4096 {
			return nil, usagef("--grid %q: expected rows and columns up to 4096, as in 64x64", f.grid)
		}
	}
	c := &chip{}
	if f.layers != "" {
		if c.layers, err = cooling.OpenLayers(f.layers, materials); err != nil {
			return nil, err
		}
	} else {
		floor, err := cooling.OpenFloorplan(f.floorplan)
		if err != nil {
			return nil, err
		}
		c.layers = cooling.DefaultStack(config, floor)
	}
	if f.model == "grid" || f.layers != "" || f.grid != "" {
		c.model, err = cooling.NewGrid(config, c.layers, f.layers != "")
	} else {
		c.model, err = cooling.NewBlock(config, c.layers[0].Floorplan)
	}
	if err != nil {
		return nil, err
	}
	if c.trace, err = cooling.OpenTrace(f.power); err != nil {
		return nil, err
	}
	if c.place, err = c.model.Place(c.trace.Names); err != nil {
		return nil, fmt.Errorf("%s: %w", f.power, err)
	}
	return c, nil
}

func newCoolMapCommand() *cobra.Command {
	var f chipFlags
	var transient bool
	c := &cobra.Command{
		Use:   "map --floorplan FILE --power FILE",
		Short: "Temperature of every block of a chip, steady or over time",
		Long: `Computes the temperature of a chip and its package from HotSpot's files: steady, at
the mean power of the trace, or over the trace, from that steady state. The block
model has four nodes for every block; the grid model cells of any number, and
stacks of dies (--layers, by HotSpot's detailed 3-D option).`,
		Example: `  kelvin cool map --floorplan ev6.flp --power gcc.ptrace --config example.config --materials example.materials
  kelvin cool map --floorplan ev6.flp --power gcc.ptrace --model grid --grid 100x80 --html map.html
  kelvin cool map --layers example.lcf --power example.ptrace --config example.config --materials example.materials`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error { return runCoolMap(c, f, transient) },
	}
	f.add(c)
	c.Flags().StringVar(&f.model, "model", "", "block or grid (default block; grid with --layers or --grid)")
	c.Flags().BoolVar(&transient, "transient", false, "follow the trace, from its steady state")
	return c
}

// coolMap is what kelvin cool map prints (docs/commands/cool.md).
type coolMap struct {
	Schema    string        `json:"schema"`
	Solver    string        `json:"solver"`
	Partial   bool          `json:"interrupted,omitempty"`
	Ambient   float64       `json:"ambient_k"`
	Power     float64       `json:"power_w"`
	Peak      coolPeak      `json:"peak"`
	Blocks    []coolBlock   `json:"blocks"`
	Transient *coolOverTime `json:"transient,omitempty"`
	Warnings  []string      `json:"warnings"`
	Seconds   float64       `json:"seconds"`
}

type coolPeak struct {
	Kelvin float64 `json:"temperature_k"`
	Where  string  `json:"where"`
}

type coolBlock struct {
	Name   string  `json:"name"`
	Kelvin float64 `json:"temperature_k"`
}

// coolOverTime is the temperature of the chip's blocks after every interval.
type coolOverTime struct {
	Interval float64     `json:"interval_s"`
	PeakTime float64     `json:"peak_s"` // when the peak is reached, at the end of an interval
	Names    []string    `json:"names"`
	Kelvin   [][]float64 `json:"temperatures_k"`
}

func runCoolMap(cmd *cobra.Command, f chipFlags, transient bool) error {
	started := time.Now()
	c, err := f.open()
	if err != nil {
		return err
	}
	m := c.model
	power := c.place(c.trace.Mean())
	kelvin, err := m.Steady(power)
	if err != nil {
		return err
	}
	d := &coolMap{Schema: schema, Solver: fmt.Sprintf("%s model, %d nodes, sparse Cholesky (LDLᵀ)", m.Kind, len(kelvin)), Ambient: m.Config.Ambient, Blocks: []coolBlock{}, Warnings: append([]string{}, m.Warnings...)}
	for _, p := range c.trace.Mean() {
		d.Power += p
	}
	var interrupted error
	if transient {
		var last []float64
		var peak coolPeak
		d.Transient, peak, last, interrupted = overTime(cmd.Context(), c, kelvin)
		if interrupted != nil && !errors.Is(interrupted, context.Canceled) {
			return interrupted
		}
		if d.Partial = interrupted != nil; last != nil {
			kelvin = last
		}
		d.Peak = peak
	}
	if d.Peak.Where == "" {
		d.Peak.Kelvin, d.Peak.Where = m.Peak(kelvin)
	}
	for _, t := range m.Temperatures(kelvin) {
		d.Blocks = append(d.Blocks, coolBlock{t.Name, t.Kelvin})
	}
	d.Seconds = time.Since(started).Seconds()
	for _, w := range d.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "kelvin: %s\n", w)
	}
	if err := writePage(cmd, func() report.Page { return d.page(c, kelvin) }); err != nil {
		return err
	}
	if interrupted != nil {
		interrupted = fmt.Errorf("interrupted after %d of %d intervals: the temperatures are those of that moment", len(d.Transient.Kelvin), len(c.trace.Power))
	}
	if f.asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), d), interrupted)
	}
	return errors.Join(d.print(cmd.OutOrStdout(), m.Temperatures(kelvin)), interrupted)
}

// overTime follows the trace from a steady state. The peak is the highest of all intervals.
func overTime(ctx context.Context, c *chip, start []float64) (t *coolOverTime, peak coolPeak, last []float64, err error) {
	t = &coolOverTime{Interval: c.model.Config.Interval, Kelvin: [][]float64{}}
	for _, b := range c.model.Temperatures(start) {
		if b.Die {
			t.Names = append(t.Names, b.Name)
		}
	}
	powers := func(yield func([]float64) bool) {
		for _, p := range c.trace.Power {
			if !yield(c.place(p)) {
				return
			}
		}
	}
	err = c.model.Transient(ctx, start, powers, t.Interval, func(kelvin []float64) {
		last = kelvin
		var row []float64
		for _, b := range c.model.Temperatures(kelvin) {
			if b.Die {
				row = append(row, b.Kelvin)
			}
		}
		t.Kelvin = append(t.Kelvin, row)
		if k, where := c.model.Peak(kelvin); k > peak.Kelvin {
			peak, t.PeakTime = coolPeak{k, where}, float64(len(t.Kelvin))*t.Interval
		}
	})
	return t, peak, last, err
}

func (d *coolMap) print(out io.Writer, list []cooling.Temperature) error {
	when, at, column := "steady", "", "temperature (K)"
	if t := d.Transient; t != nil {
		when, at, column = fmt.Sprintf("%d intervals of %g s", len(t.Kelvin), t.Interval), fmt.Sprintf(" after %.4g s", t.PeakTime), "at the end (K)"
	}
	fmt.Fprintf(out, "%.4g W, ambient %.2f K, %s, %s, %.2g s\npeak %.2f K (%.2f °C) in %s%s\n\n", d.Power, d.Ambient, when, d.Solver, d.Seconds, d.Peak.Kelvin, d.Peak.Kelvin-273.15, d.Peak.Where, at)
	t := report.Table{Columns: []string{"block", column, "(°C)"}}
	for _, b := range list {
		if b.Die {
			t.Rows = append(t.Rows, []string{b.Name, fmt.Sprintf("%.2f", b.Kelvin), fmt.Sprintf("%.2f", b.Kelvin-273.15)})
			t.Heat = append(t.Heat, (b.Kelvin-d.Ambient)/math.Max(d.Peak.Kelvin-d.Ambient, 1e-9))
		}
	}
	return t.Print(out)
}

func (d *coolMap) page(c *chip, kelvin []float64) report.Page {
	when := ""
	if d.Transient != nil {
		when = " at the end of the trace"
	}
	page := report.Page{Title: "Chip temperature", Lead: fmt.Sprintf("Peak %.2f K (%.2f °C) in %s at %.4g W.", d.Peak.Kelvin, d.Peak.Kelvin-273.15, d.Peak.Where, d.Power),
		Facts:    []report.Fact{{Label: "solver", Value: d.Solver}, {Label: "ambient", Value: fmt.Sprintf("%.2f K", d.Ambient)}},
		Sections: []report.Section{{Title: "Maps", Charts: c.maps(kelvin, when)}}}
	if d.Transient != nil && len(d.Transient.Kelvin) > 0 {
		lines := report.LineChart{Caption: "Temperature of the chip's blocks over the trace.", X: "time (s)", Y: "temperature (K)"}
		for i, name := range d.Transient.Names {
			line := report.Line{Name: name, Hotness: float64(i) / float64(max(1, len(d.Transient.Names)-1))}
			for k, row := range d.Transient.Kelvin {
				line.X, line.Y = append(line.X, float64(k+1)*d.Transient.Interval), append(line.Y, row[i])
			}
			lines.Lines = append(lines.Lines, line)
		}
		page.Sections = append(page.Sections, report.Section{Title: "Over time", Charts: []report.Chart{lines}})
	}
	table := report.Table{Columns: []string{"part", "temperature (K)"}}
	for _, b := range d.Blocks {
		table.Rows = append(table.Rows, []string{b.Name, fmt.Sprintf("%.2f", b.Kelvin)})
	}
	page.Sections = append(page.Sections, report.Section{Title: "Parts", Table: &table})
	return page
}

// maps draws the layers of the chip that dissipate, all on the scale of the states
// that are to be compared.
func (c *chip) maps(kelvin []float64, when string, compared ...[]float64) []report.Chart {
	m := c.model
	low, high := math.Inf(1), math.Inf(-1)
	pictures := func(kelvin []float64) []report.FloorMap {
		var list []report.FloorMap
		places := cooling.Places(c.layers, m.Temperatures(kelvin))
		for n, l := range c.layers {
			if l.Power {
				picture := report.FloorMap{Caption: fmt.Sprintf("Temperature of layer %d%s.", n, when), Unit: "temperature (K)", Width: 1e3 * m.Width, Height: 1e3 * m.Height}
				picture.Areas = c.areas(kelvin, places, n)
				list = append(list, picture)
			}
		}
		for _, picture := range list {
			for _, a := range picture.Areas {
				if !math.IsNaN(a.Value) {
					low, high = min(low, a.Value), max(high, a.Value)
				}
			}
		}
		return list
	}
	for _, other := range compared {
		pictures(other)
	}
	var charts []report.Chart
	for _, picture := range pictures(kelvin) {
		picture.Low, picture.High = low, high
		charts = append(charts, picture)
	}
	return charts
}

// areas are the cells of a layer of a grid with the outlines of its blocks, or its
// blocks.
func (c *chip) areas(kelvin []float64, places []cooling.Place, layer int) []report.Area {
	var areas []report.Area
	if c.model.Kind == "grid" {
		areas = c.cells(kelvin, layer)
	}
	for _, p := range places {
		if p.Layer != layer {
			continue
		}
		a := report.Area{Name: p.Name, X: 1e3 * p.X, Y: 1e3 * p.Y, Width: 1e3 * p.Width, Height: 1e3 * p.Height, Value: p.Kelvin}
		if c.model.Kind == "grid" {
			a.Value = math.NaN()
		}
		areas = append(areas, a)
	}
	return areas
}

// cells are those of one layer of a grid, at most 128 a side.
func (c *chip) cells(kelvin []float64, layer int) []report.Area {
	m := c.model
	const most = 128
	every := max((m.Rows+most-1)/most, (m.Cols+most-1)/most)
	w, h := 1e3*m.Width/float64(m.Cols), 1e3*m.Height/float64(m.Rows)
	var areas []report.Area
	rows := m.Map(kelvin, layer)
	for i := 0; i < m.Rows; i += every {
		for j := 0; j < m.Cols; j += every {
			high, wide := min(every, m.Rows-i), min(every, m.Cols-j)
			hottest := math.Inf(-1)
			for _, row := range rows[i : i+high] {
				for _, t := range row[j : j+wide] {
					hottest = max(hottest, t)
				}
			}
			areas = append(areas, report.Area{X: float64(j) * w, Y: float64(m.Rows-i-high) * h, Width: float64(wide) * w, Height: float64(high) * h, Value: hottest})
		}
	}
	return areas
}
