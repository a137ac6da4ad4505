package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/power"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// chipTemperature is that of a loaded chip, in K, where none was measured.
const chipTemperature = 330

type efficiencyFlags struct {
	power   string
	devices []string
	chip    float64
	asJSON  bool
}

func newEnergyEfficiencyCommand() *cobra.Command {
	var f efficiencyFlags
	c := &cobra.Command{
		Use:   "efficiency RUN",
		Short: "Joules for each nat of loss, and for each bit of the weights' entropy",
		Long: `Divides the energy that a run took by what it got for it: loss removed, and
entropy of the parameters, beside Landauer's bound for erasing a bit. Says how much
energy went in after the loss had stopped falling.

The power is what the run recorded, or a log of nvidia-smi or of kelvin energy log
that covers its time: --power. nvidia-smi writes the local time of its machine; if
that is not yours, set TZ (TZ=Europe/Berlin kelvin energy efficiency …).`,
		Example: `  kelvin energy efficiency runs/digits
  kelvin energy efficiency runs/digits --power power.csv --device "gpu 0"`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("chip-temperature") && !(f.chip > 0 && f.chip < 1000) {
				return usagef("--chip-temperature %g: expected kelvin, above 0 and below 1000", f.chip)
			}
			return runEnergyEfficiency(c, args[0], f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.power, "power", "", "`csv` of nvidia-smi, or of kelvin energy log (default: what the run recorded)")
	flags.StringArrayVar(&f.devices, "device", nil, "count this `device` of the log alone; may be repeated (default all)")
	flags.Float64Var(&f.chip, "chip-temperature", 0, fmt.Sprintf("`kelvin` (default: the mean of temperature.gpu in the log, or %d)", chipTemperature))
	addHTMLFlag(c)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return c
}

// A spendingDocument is what kelvin energy efficiency --json prints.
type spendingDocument struct {
	Schema     string         `json:"schema"`
	Run        string         `json:"run"`
	Power      string         `json:"power"` // where it is from
	Devices    []powerDevice  `json:"devices"`
	Start      thermo.Reading `json:"loss_start"`
	End        thermo.Reading `json:"loss_end"`
	Removed    thermo.Reading `json:"loss_removed"`
	Stopped    bool           `json:"stopped"`
	StopStep   int64          `json:"stop_step"`
	LastStep   int64          `json:"last_step"`
	Total      thermo.Reading `json:"energy"`
	Fall       thermo.Reading `json:"energy_until_stop"`
	After      thermo.Reading `json:"energy_after_stop"`
	Gaps       []power.Gap    `json:"gaps"`
	PerLoss    thermo.Reading `json:"joules_per_nat"`
	Bits       thermo.Reading `json:"entropy_bits"`
	PerBit     thermo.Reading `json:"joules_per_bit"`
	Chip       float64        `json:"chip_temperature_k"`
	ChipSource string         `json:"chip_temperature_source"`
	Landauer   float64        `json:"landauer_joules_per_bit"`
	PerBitKT   thermo.Reading `json:"landauer_ratio"` // of joules_per_bit

	Findings []thermo.Finding `json:"findings"`
	nats     bool
}

type powerDevice struct {
	Name       string `json:"name"`
	Readings   int    `json:"readings"`
	Missing    int    `json:"missing"`
	OutOfOrder int    `json:"out_of_order"`
}

func runEnergyEfficiency(cmd *cobra.Command, dir string, f efficiencyFlags) error {
	history, err := power.ReadHistory(dir)
	if err != nil {
		return err
	}
	from, to := history.Time[0], history.Time[len(history.Time)-1]
	traces, err := openPower(dir, f, from, to)
	if err != nil {
		return err
	}
	spending, err := power.Spend(history, traces)
	if err != nil {
		return fmt.Errorf("spending of %s: %w", dir, err)
	}
	d := newSpendingDocument(dir, f, history, traces, spending)
	if err := writePage(cmd, func() report.Page { return d.page(history, traces) }); err != nil {
		return err
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), d)
	}
	return d.print(cmd.OutOrStdout())
}

// openPower returns the traces of the devices that the run is charged for.
func openPower(dir string, f efficiencyFlags, from, to float64) ([]power.Trace, error) {
	if f.power == "" {
		if f.devices != nil {
			return nil, usagef("--device chooses from a log: give --power FILE.csv")
		}
		trace, err := power.ReadRecords(dir)
		if err != nil {
			return nil, err
		}
		if len(trace.Time) < 2 {
			return nil, fmt.Errorf("%s recorded no power: train with the PyTorch probe on a machine whose GPU or CPU counters can be read, "+
				"or log beside the training (nvidia-smi --query-gpu=timestamp,index,power.draw,temperature.gpu --format=csv -l 1 > power.csv; "+
				"kelvin energy log cpu.csv) and give the log as --power", dir)
		}
		trace.Device = "recorded"
		return []power.Trace{trace}, nil
	}
	traces, err := power.ReadCSV(f.power, time.Local)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range traces {
		names = append(names, t.Device)
	}
	for _, name := range f.devices {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("reading %s: no device %q; it has %s", f.power, name, strings.Join(names, ", "))
		}
	}
	traces = slices.DeleteFunc(traces, func(t power.Trace) bool { return f.devices != nil && !slices.Contains(f.devices, t.Device) })
	first, last := math.Inf(1), math.Inf(-1)
	for _, t := range traces {
		if n := len(t.Time); n > 0 {
			first, last = min(first, t.Time[0]), max(last, t.Time[n-1])
		}
	}
	if !(first < to && last > from) {
		return nil, fmt.Errorf("%s does not cover the run: it goes from %s to %s, and %s from %s to %s; if it was written in another time zone, set TZ to that",
			f.power, clock(first), clock(last), dir, clock(from), clock(to))
	}
	return traces, nil
}

func clock(seconds float64) string {
	if math.IsInf(seconds, 0) {
		return "no reading"
	}
	return time.UnixMilli(int64(seconds * 1000)).Format("2006-01-02 15:04:05 MST")
}

func newSpendingDocument(dir string, f efficiencyFlags, h *power.History, traces []power.Trace, s *power.Spending) *spendingDocument {
	d := &spendingDocument{
		Schema: schema, Run: dir, Power: f.power, Start: s.Start, End: s.End, Removed: s.Removed, Stopped: s.Stopped, StopStep: s.StopStep,
		LastStep: h.Step[len(h.Step)-1], Total: s.Total, Fall: s.Fall, After: s.After, Gaps: append([]power.Gap{}, s.Gaps...),
		PerLoss: s.PerLoss, Bits: s.Bits, PerBit: s.PerBit, nats: h.Nats, Findings: []thermo.Finding{},
	}
	if d.Power == "" {
		d.Power = "recorded by the run"
	}
	for _, r := range []*thermo.Reading{&d.Start, &d.End, &d.Removed} {
		r.Unit = d.unit()
	}
	d.PerLoss.Unit = "J/" + d.unit()
	for _, t := range traces {
		d.Devices = append(d.Devices, powerDevice{t.Device, len(t.Time), t.Missing, t.OutOfOrder})
	}
	d.Chip, d.ChipSource = chipKelvin(f, traces, h.Time[0], h.Time[len(h.Time)-1])
	d.Landauer = power.Landauer(d.Chip)
	d.PerBitKT = d.PerBit
	d.PerBitKT.Name, d.PerBitKT.Unit = "joules per bit over Landauer's", "1"
	d.PerBitKT.Value, d.PerBitKT.StdErr = d.PerBit.Value/d.Landauer, d.PerBit.StdErr/d.Landauer
	if share := s.After.Value / s.Total.Value; s.Stopped && share >= 0.1 {
		d.Findings = append(d.Findings, idleEnergy(d, share))
	}
	return d
}

func (d *spendingDocument) unit() string {
	if d.nats {
		return "nat"
	}
	return "unit of loss"
}

// chipKelvin returns the temperature of the chip: as given, as logged, or as usual.
func chipKelvin(f efficiencyFlags, traces []power.Trace, from, to float64) (kelvin float64, source string) {
	if f.chip > 0 {
		return f.chip, "given"
	}
	var mean, n float64
	for _, t := range traces {
		for i, c := range t.Celsius {
			if !math.IsNaN(c) && t.Time[i] >= from && t.Time[i] <= to {
				n++
				mean += (c - mean) / n
			}
		}
	}
	if n > 0 {
		return 273.15 + mean, "mean of the log"
	}
	return chipTemperature, "assumed"
}

// idleEnergy is the finding that much went in after the loss stopped falling.
func idleEnergy(d *spendingDocument, share float64) thermo.Finding {
	severity := thermo.Info
	if share >= 0.3 {
		severity = thermo.Warning
	}
	return thermo.Finding{
		ID: "energy-after-stop", Severity: severity,
		What: fmt.Sprintf("%.0f %% of the energy went in after the loss stopped falling", 100*share),
		Evidence: fmt.Sprintf("%.4g of %.4g J after step %d; from there to step %d the loss is %s", d.After.Value, d.Total.Value, d.StopStep, d.LastStep,
			d.End),
		Change: fmt.Sprintf("lower the learning rate near step %d, or stop there: at a constant rate more steps only stir the weights", d.StopStep),
	}
}

func (d *spendingDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, power %s", d.Run, d.Power)
	for i, device := range d.Devices {
		fmt.Fprintf(w, "%s%s (%d readings", map[bool]string{true: ": ", false: ", "}[i == 0], device.Name, device.Readings)
		if device.Missing > 0 {
			fmt.Fprintf(w, ", %d missing", device.Missing)
		}
		if device.OutOfOrder > 0 {
			fmt.Fprintf(w, ", %d out of order", device.OutOfOrder)
		}
		fmt.Fprint(w, ")")
	}
	fmt.Fprint(w, "\n\n")
	stop := fmt.Sprintf("until it stopped falling, step %d", d.StopStep)
	if !d.Stopped {
		stop = "until the last tenth; it has not stopped falling"
	}
	for _, line := range []struct {
		name string
		r    thermo.Reading
		note string
	}{
		{"loss", d.Start, "at the start"}, {"", d.End, "at the end"}, {"", d.Removed, "removed"},
		{"energy", d.Total, "in all"}, {"", d.Fall, stop}, {"", d.After, "after that"},
		{"price", d.PerLoss, "of loss removed, for one example"}, {"entropy", d.Bits, "lost by the parameters"}, {"price", d.PerBit, "of entropy lost"},
		{"", d.PerBitKT, "times Landauer's bound"},
	} {
		if line.r.Valid() || !math.IsNaN(line.r.Value) {
			value := line.r
			value.Invalid = ""
			fmt.Fprintf(w, "%-9s%s %s\n", line.name, value, line.note)
		}
		if !line.r.Valid() && line.r.Name != d.PerBitKT.Name && line.r.Name != d.PerBit.Name {
			fmt.Fprintf(w, "%-9s%s: not known: %s\n", line.name, line.r.Name, line.r.Invalid)
		}
	}
	fmt.Fprintf(w, "%-9s%s J/bit, k_B T ln 2 at %.4g K (%s)\n", "Landauer", thermo.Format(d.Landauer, 4), d.Chip, d.ChipSource)
	for i, g := range d.Gaps {
		if i == 5 {
			fmt.Fprintf(w, "and %d more times without power\n", len(d.Gaps)-i)
			break
		}
		fmt.Fprintf(w, "no power from %s for %.1f s\n", clock(g.From), g.To-g.From)
	}
	return printFindings(w, d.Findings)
}
