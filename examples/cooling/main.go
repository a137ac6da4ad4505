// Command cooling follows one training from the network to joules to kelvins, and back:
// what its energy plan costs when the chip gets too hot and throttles, and when
// thermoelectric coolers, whose power counts, keep it from that
// (docs/joules-to-kelvins.md).
//
//	go run ./examples/cooling [-dataset imagenet] [-limit 356.15] [-tec 4x4]
//	go run ./examples/cooling -run RUN_OR_LOG
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/kelvin-ml/kelvin/cooling"
	"github.com/kelvin-ml/kelvin/power"
)

func main() {
	log.SetFlags(0)
	chips := flag.String("chip", "examples/cooling", "folder of gpu.flp, gpu.ptrace and gpu.config")
	traces := flag.String("traces", "power/testdata", "folder of summary_train.csv and summary_power_v100.csv")
	dataset := flag.String("dataset", "imagenet", "job of the traces")
	limit := flag.Float64("limit", 356.15, "temperature at which the chip throttles, K")
	tec := flag.String("tec", "4x4", "rows x columns of coolers")
	run := flag.String("run", "", "follow the power of this run folder, or log of nvidia-smi, instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c, err := openChip(*chips, *limit, *tec, *run != "")
	if err != nil {
		log.Fatal(err)
	}
	if *run != "" {
		err = follow(ctx, os.Stdout, c, *run)
	} else {
		err = loop(ctx, os.Stdout, c, *traces, *dataset)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// dieShare of the board's power is on the die, as in gpu.ptrace; the rest is in memory
// and regulators.
const dieShare = 0.8

// A chip is the die that the board's power heats.
type chip struct {
	model  *cooling.Model
	place  func(watts []float64) []float64
	shares []float64 // of every block of the die's power
	limit  float64   // K, at which it throttles
	tiles  []cooling.Tile
}

// openChip reads a chip: as blocks, which are fast, or as a grid, which coolers need.
func openChip(dir string, limit float64, tec string, blocks bool) (*chip, error) {
	config, err := cooling.OpenConfig(filepath.Join(dir, "gpu.config"), nil)
	if err != nil {
		return nil, err
	}
	floor, err := cooling.OpenFloorplan(filepath.Join(dir, "gpu.flp"))
	if err != nil {
		return nil, err
	}
	trace, err := cooling.OpenTrace(filepath.Join(dir, "gpu.ptrace"))
	if err != nil {
		return nil, err
	}
	c := &chip{limit: limit, shares: trace.Mean()}
	if c.model, err = cooling.NewBlock(*config, floor); !blocks {
		c.model, err = cooling.NewGrid(*config, cooling.DefaultStack(*config, floor), false)
	}
	if err != nil {
		return nil, err
	}
	if c.place, err = c.model.Place(trace.Names); err != nil {
		return nil, err
	}
	var rows, columns int
	if n, err := fmt.Sscanf(tec+"\n", "%dx%d\n", &rows, &columns); n != 2 || err != nil || rows < 1 || columns < 1 || rows > config.Rows || columns > config.Cols {
		return nil, fmt.Errorf("-tec %q: expected rows and columns, as in 4x4", tec)
	}
	c.tiles = cooling.Regular(rows, columns, c.model.Width, c.model.Height)
	sum := 0.0
	for _, w := range c.shares {
		sum += w
	}
	for i := range c.shares {
		c.shares[i] /= sum
	}
	return c, nil
}

// nodes is the power of the nodes when the board draws watts.
func (c *chip) nodes(watts float64) []float64 {
	blocks := make([]float64, len(c.shares))
	for i, s := range c.shares {
		blocks[i] = s * dieShare * watts
	}
	return c.place(blocks)
}

// peak is the steady temperature of the hottest place when the board draws watts.
func (c *chip) peak(watts float64) (kelvin float64, err error) {
	t, err := c.model.Steady(c.nodes(watts))
	if err != nil {
		return 0, err
	}
	kelvin, _ = c.model.Peak(t)
	return kelvin, nil
}

// sustained is the power of the board at which the chip reaches its limit: without
// coolers temperatures are linear in it.
func (c *chip) sustained() (watts float64, err error) {
	one, err := c.peak(1)
	return (c.limit - c.model.Config.Ambient) / (one - c.model.Config.Ambient), err
}

// hold is the least power of the coolers that keeps the chip at its limit when the
// board draws watts, and the peak then. ok is false where no currents do.
func (c *chip) hold(ctx context.Context, watts float64) (coolers, peak float64, ok bool, err error) {
	a, err := cooling.NewArray(c.model, c.tiles, c.nodes(watts))
	if err != nil {
		return 0, 0, false, err
	}
	at := func(most float64) (coolers, peak float64, err error) {
		s, err := cooling.Optimise(ctx, a, cooling.Options{MaxPower: most, Time: 1})
		if err != nil {
			return 0, 0, err
		}
		for _, p := range s.Power {
			coolers += p
		}
		return coolers, s.After, ctx.Err()
	}
	kelvin, _, _, err := a.Temperatures(make([]float64, len(c.tiles)))
	if err != nil {
		return 0, 0, false, err
	}
	off, _ := c.model.Peak(kelvin)
	if off <= c.limit {
		return 0, off, true, nil
	}
	if coolers, peak, err = at(0); err != nil || peak > c.limit {
		return 0, peak, false, err
	}
	// The peak falls nearly in a line with the root of the power.
	for low, high := 0.0, math.Sqrt(coolers); c.limit-peak > 0.002; {
		middle := min(max(low+(off-c.limit)/(off-peak)*(high-low)*1.001, low+0.01*(high-low)), high-0.01*(high-low))
		p, k, err := at(middle * middle)
		if err != nil {
			return 0, 0, false, err
		}
		if k > c.limit {
			low, off = middle, k
		} else {
			high, coolers, peak = middle, p, k
		}
	}
	return coolers, peak, true, nil
}

// throttle returns what an epoch takes when the board may draw no more than watts: the
// measured speeds of the batch size at lower limits, with straight lines between.
func throttle(s power.Speed, speeds []power.Speed, watts float64) (power.Speed, error) {
	below, above := power.Speed{}, s
	for _, o := range speeds {
		switch {
		case o.Batch != s.Batch:
		case o.Watts <= watts && o.Watts > below.Watts:
			below = o
		case o.Watts > watts && o.Watts < above.Watts:
			above = o
		}
	}
	if below.Watts == 0 {
		return s, fmt.Errorf("batch size %d was never measured at %.0f W or less, which is all that the chip can stand", s.Batch, watts)
	}
	x := (watts - below.Watts) / (above.Watts - below.Watts)
	s.Watts, s.Seconds = watts, below.Seconds+x*(above.Seconds-below.Seconds)
	return s, nil
}

// A thermalPlan is an energy plan with what the chip does to it.
type thermalPlan struct {
	name    string
	job     power.Job
	speeds  []power.Speed                 // with the power of coolers
	coolers map[power.Speed]coolerReading // by the speed with them
}

type coolerReading struct{ watts, peak float64 }

// plans returns the plan as it is, of a chip that throttles, and of one whose coolers
// keep it from that as far as they can.
func plans(ctx context.Context, c *chip, traces, dataset string) ([]thermalPlan, error) {
	runs, err := power.ReadRuns(filepath.Join(traces, "summary_train.csv"))
	if err != nil {
		return nil, err
	}
	all, err := power.ReadSpeeds(filepath.Join(traces, "summary_power_v100.csv"))
	if err != nil {
		return nil, err
	}
	most, err := c.sustained()
	if err != nil {
		return nil, err
	}
	list := []thermalPlan{{name: "as measured"}, {name: "throttled"}, {name: "with coolers"}}
	for i := range list {
		list[i].coolers = map[power.Speed]coolerReading{}
	}
	var measured []power.Speed
	for _, s := range all {
		if s.Dataset == dataset {
			measured = append(measured, s)
		}
	}
	for _, s := range measured {
		list[0].speeds = append(list[0].speeds, s)
		if s.Watts <= most {
			list[1].speeds, list[2].speeds = append(list[1].speeds, s), append(list[2].speeds, s)
			continue
		}
		slow, err := throttle(s, measured, most)
		if err != nil {
			return nil, err
		}
		list[1].speeds = append(list[1].speeds, slow)
		watts, peak, ok, err := c.hold(ctx, s.Watts)
		if err != nil {
			return nil, err
		}
		if !ok { // the coolers are not enough
			list[2].speeds = append(list[2].speeds, slow)
			continue
		}
		s.Watts += watts
		list[2].speeds = append(list[2].speeds, s)
		list[2].coolers[s] = coolerReading{watts, peak}
	}
	for i := range list {
		jobs, err := power.Plan(runs, list[i].speeds, power.PlanOptions{Dataset: dataset, Target: power.Published[dataset].Target, Eta: 0.5, MaxSlowdown: 1.1})
		if err != nil {
			return nil, err
		}
		list[i].job = jobs[0]
	}
	return list, nil
}

// loop prints the three plans.
func loop(ctx context.Context, out io.Writer, c *chip, traces, dataset string) error {
	list, err := plans(ctx, c, traces, dataset)
	if err != nil {
		return err
	}
	most, err := c.sustained()
	if err != nil {
		return err
	}
	j := list[0].job
	fmt.Fprintf(out, "%s, %s, to %g; ambient %.2f K; the chip throttles at %.2f K, which it reaches when the board draws %.1f W\n\n", j.Dataset, j.Network, j.Target, c.model.Config.Ambient, c.limit, most)
	fmt.Fprintf(out, "%-13s %-16s %5s %6s %9s %9s %9s %8s %12s\n", "chip", "choice", "batch", "limit", "board (W)", "coolers", "peak (K)", "time (h)", "energy (MJ)")
	for _, p := range list {
		for _, choice := range []struct {
			name string
			s    power.Setting
		}{{"baseline", p.job.Baseline}, {"fastest", p.job.Fastest}, {"within slowdown", p.job.Slowed}, {"least energy", p.job.Best}} {
			row, err := c.row(p, choice.s)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%-13s %-16s %5d %6.0f %9.1f %9.2f %9.2f %8.2f %12.3f\n", p.name, choice.name, choice.s.Batch, choice.s.Limit, row.board, row.coolers, row.peak, choice.s.Time.Value/3600, choice.s.Energy.Value/1e6)
		}
	}
	return nil
}

type planRow struct{ board, coolers, peak float64 }

// row says what the board and its coolers draw at a setting of a plan, and how hot the
// chip is.
func (c *chip) row(p thermalPlan, set power.Setting) (r planRow, err error) {
	for _, s := range p.speeds {
		if s.Batch != set.Batch || s.Limit != set.Limit {
			continue
		}
		if k, ok := p.coolers[s]; ok {
			return planRow{s.Watts - k.watts, k.watts, k.peak}, nil
		}
		r.board = s.Watts
		r.peak, err = c.peak(s.Watts)
		return r, err
	}
	return r, fmt.Errorf("no speed of batch size %d at %g W", set.Batch, set.Limit)
}
