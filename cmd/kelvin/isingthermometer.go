package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/ising"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// isingThermometerDocument is what ising thermometer prints with --json.
type isingThermometerDocument struct {
	Schema           string         `json:"schema"`
	File             string         `json:"file"`
	Lattice          ising.Lattice  `json:"lattice"`
	Coupling         float64        `json:"coupling"`
	Field            float64        `json:"field"`
	Size             *int           `json:"size"` // L; null where width and height differ
	Width            int            `json:"width"`
	Height           int            `json:"height"`
	Configurations   int            `json:"configurations"`
	Temperature      thermo.Reading `json:"temperature"` // of all together; none where they were simulated at several
	AbsMagnetisation float64        `json:"abs_magnetization"`
	Points           []isingRead    `json:"points"`
	Notes            []string       `json:"notes,omitempty"`
}

// isingRead is what configurations of one temperature read, together and alone.
type isingRead struct {
	Simulated        *float64         `json:"simulated_temperature"` // null where the file does not know it
	Configurations   int              `json:"configurations"`
	Temperature      thermo.Reading   `json:"temperature"`
	AbsMagnetisation float64          `json:"abs_magnetization"`
	Readings         []thermo.Reading `json:"readings"` // of every configuration
}

func newIsingThermometerCommand() *cobra.Command {
	model := ising.Model{}
	var lattice string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "thermometer FILE",
		Short: "Read the temperature of spin configurations",
		Long: `Read the temperature of one configuration of spins (±1, or 0 and 1) on a torus,
of L×L sites or H×W (npy, or csv: a row a line), of an n×H×W array of independent
ones (npy), or of what kelvin ising run --out wrote (npz, which knows its
lattice, J and H), by maximum pseudo-likelihood: of all configurations of a
temperature together, and of every one. The standard error counts the
correlation of the spins; one configuration is enough.`,
		Example: `  kelvin ising thermometer spins.npy --json
  kelvin ising run --size 64 --temperature 2,2.5 --replicas 4 --out spins.npz && kelvin ising thermometer spins.npz`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			model.Lattice = ising.Lattice(lattice)
			return runIsingThermometer(cmd, model, args[0], asJSON)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&lattice, "lattice", string(ising.Square), "square, triangular or honeycomb")
	flags.Float64Var(&model.Coupling, "coupling", 1, "J; negative for an antiferromagnet")
	flags.Float64Var(&model.Field, "field", 0, "H")
	addHTMLFlag(cmd)
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func runIsingThermometer(cmd *cobra.Command, model ising.Model, path string, asJSON bool) error {
	model.Size = ising.MinSize // the file's does not count
	if err := model.Validate(); err != nil {
		return usageError{err}
	}
	groups, temperatures, width, height, err := readSpins(path)
	if err != nil {
		return err
	}
	if temperatures != nil {
		if model, err = storedModel(cmd, path, model); err != nil {
			return err
		}
	}
	d := &isingThermometerDocument{Schema: schema, File: path, Lattice: model.Lattice, Coupling: model.Coupling, Field: model.Field, Width: width, Height: height}
	if width == height {
		d.Size = &width
	} else if side := int(math.Sqrt(float64(width))); len(groups) == 1 && len(groups[0]) == 1 && side*side == width && side >= ising.MinSize {
		d.Notes = append(d.Notes, fmt.Sprintf("read as one lattice of %d×%d spins; %d configurations of %d×%d need an array of shape %d×%d×%d", height, width, height, side, side, height, side, side))
	}
	var all [][]int8
	for i, configurations := range groups {
		p := isingRead{Configurations: len(configurations), AbsMagnetisation: meanAbsMagnetisation(configurations)}
		if temperatures != nil {
			p.Simulated = &temperatures[i]
		}
		if p.Temperature, err = model.TemperatureOf(width, height, configurations...); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		for k, c := range configurations {
			r, err := model.TemperatureOf(width, height, c)
			if err != nil {
				return fmt.Errorf("reading %s: %w", path, err)
			}
			p.Readings = append(p.Readings, named(r, fmt.Sprintf("configuration %d", k+1)))
		}
		d.Points, all = append(d.Points, p), append(all, configurations...)
	}
	d.Configurations, d.AbsMagnetisation, d.Temperature = len(all), meanAbsMagnetisation(all), d.Points[0].Temperature
	if n := len(d.Points); n > 1 {
		d.Temperature = thermo.Reading{Name: d.Temperature.Name, Unit: d.Temperature.Unit, Value: math.NaN(), StdErr: math.NaN(),
			Invalid: fmt.Sprintf("the configurations were simulated at %d temperatures", n)}
	}
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), d)
	}
	return d.print(cmd.OutOrStdout())
}

// fewConfigurations is the number up to which each is printed.
const fewConfigurations = 16

func (d *isingThermometerDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%s of %d×%d spins, %s lattice, J = %g, H = %g\n", isingConfigurations(d.Configurations), d.Height, d.Width, d.Lattice, d.Coupling, d.Field)
	for _, note := range d.Notes {
		fmt.Fprintln(w, note)
	}
	for _, p := range d.Points {
		if p.Simulated != nil {
			fmt.Fprintf(w, "\nsimulated at      %g\n", *p.Simulated)
		}
		fmt.Fprintf(w, "temperature       %v\n", isingTemperature(p.Temperature))
		for _, r := range p.Readings {
			if n := len(p.Readings); n > 1 && n <= fewConfigurations {
				fmt.Fprintf(w, "  %-17s %v\n", r.Group, isingTemperature(r))
			}
		}
		if len(p.Readings) > fewConfigurations {
			fmt.Fprintf(w, "  of every configuration: --json, --html\n")
		}
		fmt.Fprintf(w, "|magnetisation|   %.6g\n", p.AbsMagnetisation)
	}
	return nil
}

// isingTemperature is a reading in words; where there is no value, the reason.
func isingTemperature(r thermo.Reading) string {
	if math.IsNaN(r.Value) {
		return "none (" + r.Invalid + ")"
	}
	return r.String()
}

func isingConfigurations(n int) string {
	if n == 1 {
		return "1 configuration"
	}
	return fmt.Sprintf("%d configurations", n)
}

// page returns the readings as a page.
func (d *isingThermometerDocument) page() report.Page {
	page := report.Page{Title: "Temperature of " + d.File, Lead: "Read off the spins alone, by maximum pseudo-likelihood. Two standard errors; pale where not valid." + strings.Join(append([]string{""}, d.Notes...), " Note: "),
		Facts: []report.Fact{{Label: "model", Value: fmt.Sprintf("%s lattice, %d×%d spins, J = %g, H = %g", d.Lattice, d.Height, d.Width, d.Coupling, d.Field)},
			{Label: "configurations", Value: fmt.Sprint(d.Configurations)}}}
	scatter := report.ScatterChart{Caption: "Temperature read from all configurations of a simulated temperature: on the line where they agree.",
		X: "simulated temperature (energy/nat)", Y: "temperature read (energy/nat)", Diagonal: true}
	for i, p := range d.Points {
		bars := report.BarChart{Caption: "All configurations together, and every one.", Axis: "temperature (energy/nat)", Dots: true, Readings: []thermo.Reading{named(p.Temperature, "together")}}
		bars.Readings = append(bars.Readings, p.Readings[:min(len(p.Readings), 64)]...) // more are not to be told apart
		title := "Configurations"
		if p.Simulated != nil {
			title = fmt.Sprintf("Simulated at %g", *p.Simulated)
			bars.Readings = append(bars.Readings, thermo.Reading{Group: "simulated", Value: *p.Simulated})
			scatter.Dots = append(scatter.Dots, report.Dot{Name: title, X: *p.Simulated, Y: p.Temperature.Value, ErrY: p.Temperature.StdErr, Hotness: hotnessOf(i, len(d.Points))})
		}
		figure := report.FigureOf("temperature", p.Temperature)
		figure.Unit = "energy/nat"
		if p.Simulated != nil {
			figure.Label = fmt.Sprintf("temperature, simulated at %g", *p.Simulated)
		}
		page.Figures = append(page.Figures, figure)
		page.Sections = append(page.Sections, report.Section{Title: title, Charts: []report.Chart{bars}, Text: fmt.Sprintf("Mean |magnetisation| %.6g per spin.", p.AbsMagnetisation)})
	}
	if len(scatter.Dots) > 1 {
		page.Sections = append([]report.Section{{ID: "all", Title: "Read against simulated", Charts: []report.Chart{scatter}}}, page.Sections...)
	}
	return page
}

// storedModel returns the model that kelvin ising run stored with its spins;
// flags that say otherwise are an error. Files of before it did know no model.
func storedModel(cmd *cobra.Command, path string, flagged ising.Model) (ising.Model, error) {
	stored := flagged
	for name, set := range map[string]func(x float64) bool{
		"coupling": func(x float64) bool { stored.Coupling = x; return true },
		"field":    func(x float64) bool { stored.Field = x; return true },
		"neighbours": func(x float64) bool {
			stored.Lattice = map[float64]ising.Lattice{4: ising.Square, 6: ising.Triangular, 3: ising.Honeycomb}[x]
			return stored.Lattice != ""
		},
	} {
		values, _, err := dataset.OpenArray(path, name)
		if err != nil {
			return stored, err
		}
		if values != nil && (len(values) != 1 || !set(values[0])) {
			return stored, fmt.Errorf("reading %s: array %q: expected one number, as kelvin ising run --out writes it, got %v", path, name, values)
		}
	}
	for _, flag := range []struct {
		name   string
		differ bool
	}{{"lattice", stored.Lattice != flagged.Lattice}, {"coupling", stored.Coupling != flagged.Coupling}, {"field", stored.Field != flagged.Field}} {
		if flag.differ && cmd.Flags().Changed(flag.name) {
			return stored, usagef("--%s %v: the spins of %s were simulated on the %s lattice with J = %g, H = %g", flag.name, cmd.Flag(flag.name).Value, path, stored.Lattice, stored.Coupling, stored.Field)
		}
	}
	if err := stored.Validate(); err != nil {
		return stored, fmt.Errorf("reading %s: %w", path, err)
	}
	return stored, nil
}

// readSpinTable reads comma-separated numbers, a row of the lattice a line.
func readSpinTable(path string) (x []float64, shape []int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.TrimLeadingSpace = true
	records, err := r.ReadAll()
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	for line, record := range records {
		for _, field := range record {
			v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
			if err != nil {
				return nil, nil, fmt.Errorf("reading %s: line %d: expected spins ±1, or 0 and 1, got %q", path, line+1, field)
			}
			x = append(x, v)
		}
	}
	if len(records) == 0 {
		return nil, nil, fmt.Errorf("reading %s: expected lines of comma-separated spins, got an empty file", path)
	}
	return x, []int{len(records), len(records[0])}, nil
}

// readSpins reads an H×W or n×H×W array of ±1, or of 0 and 1; or the
// configurations and temperatures of kelvin ising run, whose temperatures are nil
// for other files.
func readSpins(path string) (groups [][][]int8, temperatures []float64, width, height int, err error) {
	fail := func(err error) ([][][]int8, []float64, int, int, error) { return nil, nil, 0, 0, err }
	var x []float64
	var shape []int
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npz":
		if x, shape, err = dataset.OpenArray(path, "spins"); err != nil {
			return fail(err)
		}
		if shape == nil {
			return fail(fmt.Errorf("reading %s: expected an array named spins, as kelvin ising run --out writes it", path))
		}
		if temperatures, _, err = dataset.OpenArray(path, "temperatures"); err != nil {
			return fail(err)
		}
	case ".csv": // not as data, whose last column would be answers
		if x, shape, err = readSpinTable(path); err != nil {
			return fail(err)
		}
	default:
		set, err := dataset.Open(path)
		if err != nil {
			return fail(err)
		}
		shape = append([]int{set.N}, set.Shape...)
		for _, v := range set.X {
			x = append(x, float64(v))
		}
	}
	given := shape
	for len(shape) < 4 { // one configuration, or one temperature
		shape = append([]int{1}, shape...)
	}
	if len(shape) != 4 || len(x) == 0 || shape[0] > 1 && temperatures == nil {
		return fail(fmt.Errorf("reading %s: expected an array of shape H×W or n×H×W, got %v", path, given))
	}
	height, width = shape[2], shape[3]
	if temperatures != nil && len(temperatures) != shape[0] {
		return fail(fmt.Errorf("reading %s: array \"temperatures\": expected %d, one for each of the configurations' first axis, got %d", path, shape[0], len(temperatures)))
	}
	spins, err := spinsOf(x)
	if err != nil {
		return fail(fmt.Errorf("reading %s: %w", path, err))
	}
	for range shape[0] {
		var group [][]int8
		for range shape[1] {
			group, spins = append(group, spins[:width*height]), spins[width*height:]
		}
		groups = append(groups, group)
	}
	return groups, temperatures, width, height, nil
}

// spinsOf turns ±1, or 0 and 1, into spins.
func spinsOf(x []float64) ([]int8, error) {
	bits := true // 0 and 1
	for _, v := range x {
		bits = bits && (v == 0 || v == 1)
	}
	spins := make([]int8, len(x))
	for i, v := range x {
		switch {
		case v == 1:
			spins[i] = 1
		case v == -1, bits:
			spins[i] = -1
		default:
			return nil, fmt.Errorf("element %d is %v, expected spins ±1, or 0 and 1", i, v)
		}
	}
	return spins, nil
}

func meanAbsMagnetisation(configurations [][]int8) float64 {
	var sum float64
	for _, spins := range configurations {
		m := 0
		for _, s := range spins {
			m += int(s)
		}
		sum += float64(max(m, -m)) / float64(len(spins)*len(configurations))
	}
	return sum
}
