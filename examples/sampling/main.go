// Command sampling draws the pictures of docs/sampling.md and prints its
// numbers: the heat that the step size of SGLD adds, a heat capacity with a peak,
// and a double well with and without parallel tempering.
//
//	go run ./examples/sampling -out docs/img [bias capacity tempering]
//
// With -cold it draws the curve that kelvin sample --net --json has written:
//
//	go run ./examples/sampling -out docs/img -cold cold.json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "docs/img", "folder for the pictures")
	cold := flag.String("cold", "", "draw this document of kelvin sample --net --json instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := os.MkdirAll(*out, 0o755); err != nil {
		log.Fatal(err)
	}
	if *cold != "" {
		if err := coldPosterior(*cold, *out); err != nil {
			log.Fatal(err)
		}
		return
	}
	parts := map[string]func(context.Context, string) error{"bias": bias, "capacity": capacity, "tempering": tempering}
	names := flag.Args()
	if len(names) == 0 {
		names = []string{"bias", "capacity", "tempering"}
	}
	for _, name := range names {
		draw, ok := parts[name]
		if !ok {
			log.Fatalf("no part %q: bias, capacity or tempering", name)
		}
		if err := draw(ctx, *out); err != nil {
			log.Fatal(err)
		}
	}
}

// parabola is E = |x|²/2, of curvature 1 in every direction.
type parabola int

func (p parabola) Dim() int { return int(p) }

func (p parabola) Energy(theta []float64) float64 {
	var e float64
	for _, x := range theta {
		e += x * x / 2
	}
	return e
}

func (p parabola) Gradient(theta, gradient []float64) float64 {
	copy(gradient, theta)
	return p.Energy(theta)
}

func same(d sampler.Density) func(int) (sampler.Density, error) {
	return func(int) (sampler.Density, error) { return d, nil }
}

// bias reads the temperature of SGLD against its step size, and that of MALA,
// which is SGLD with an acceptance test.
func bias(ctx context.Context, out string) error {
	d := parabola(10)
	var sgld, mala []point
	fmt.Println("step × curvature  T/(1−ελ/2)  SGLD reads     MALA reads")
	for _, step := range []float64{0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.2} {
		row := fmt.Sprintf("%16.2f  %10.4f", step, 1/(1-step/2))
		for _, of := range []struct {
			kernel sampler.Kernel
			points *[]point
		}{{sampler.SGLD{StepSize: step}, &sgld}, {sampler.MALA{StepSize: step}, &mala}} {
			// No warm-up, which would tune MALA's step: the chains start in equilibrium.
			r, err := sampler.Run(ctx, same(d), of.kernel, sampler.Options{Draws: 40000, Thin: 1, Seed: 1,
				Start: func(_ int, rng *rand.Rand) []float64 { return normal(rng, d.Dim()) }})
			if err != nil {
				return err
			}
			virial := r.Thermometers()[0]
			*of.points = append(*of.points, point{step, virial})
			row += "  " + thermo.FormatError(virial.Value, virial.StdErr)
		}
		fmt.Println(row)
	}
	p := newPlot("SGLD is hot by its step size", "step size × curvature ελ", "T read / T asked")
	if err := errors.Join(readings(p, "SGLD", hues[1], sgld), readings(p, "MALA, with acceptance", hues[2], mala)); err != nil {
		return err
	}
	var theory []point
	for x := 0.0; x <= 1.25; x += 0.01 {
		theory = append(theory, point{x, thermo.Reading{Value: 1 / (1 - x/2)}})
	}
	if err := joined(p, "1/(1 − ελ/2)", grey, theory); err != nil {
		return err
	}
	p.X.Min, p.X.Max, p.Legend.Top, p.Legend.Left = 0, 1.25, true, true
	return save(filepath.Join(out, "sampling-bias.svg"), p)
}

// normal draws from exp(−|x|²/2).
func normal(rng *rand.Rand, n int) []float64 {
	theta := make([]float64, n)
	for i := range theta {
		theta[i] = rng.NormFloat64()
	}
	return theta
}

// twoValleys is a narrow valley of three dimensions within a wide one whose
// floor is higher: E = min(stiff·|x|²/2, gap + |x|²/2).
type twoValleys struct{ gap, stiff float64 }

func (twoValleys) Dim() int { return 3 }

func (d twoValleys) Energy(theta []float64) float64 {
	e := parabola(3).Energy(theta)
	return min(d.stiff*e, d.gap+e)
}

func (d twoValleys) Gradient(theta, gradient []float64) float64 {
	e := parabola(3).Energy(theta)
	slope := 1.0
	if d.stiff*e < d.gap+e {
		slope = d.stiff
	}
	for i, x := range theta {
		gradient[i] = slope * x
	}
	return min(d.stiff*e, d.gap+e)
}

// capacity integrates over the radius for the exact Var(E)/T².
func (d twoValleys) capacity(temperature float64) float64 {
	var z, e1, e2 float64
	for r := 0.001; r < 40*math.Sqrt(temperature); r += 0.002 {
		e := d.Energy([]float64{r, 0, 0})
		w := r * r * math.Exp(-e/temperature)
		z, e1, e2 = z+w, e1+w*e, e2+w*e*e
	}
	return (e2/z - e1*e1/(z*z)) / (temperature * temperature)
}

// capacity measures the heat capacity of a system with two valleys.
func capacity(ctx context.Context, out string) error {
	d := twoValleys{gap: 2, stiff: 30}
	var temperatures []float64
	for i := range 13 {
		temperatures = append(temperatures, 0.12*math.Pow(10, float64(i)/8))
	}
	c, err := sampler.HeatCapacity(ctx, same(d), sampler.NUTS{StepSize: 0.1}, temperatures, sampler.Options{Warmup: 500, Draws: 10000, Seed: 1})
	if err != nil {
		return err
	}
	var variance, slope []point
	for _, p := range c.Points {
		variance = append(variance, point{p.Temperature, p.Capacity})
		slope = append(slope, point{p.Temperature * 1.02, p.Slope}) // beside, not behind
		fmt.Printf("T = %.3f: C = %v, dU/dT = %v, exact %.3f\n", p.Temperature, p.Capacity, p.Slope, d.capacity(p.Temperature))
	}
	fmt.Printf("Var(E)/T² and dU/dT agree with p = %.2g\n", c.PValue)
	for _, peak := range c.Peaks {
		fmt.Printf("peak at T = %s\n", thermo.FormatError(peak.Temperature, peak.StdErr))
	}
	p := newPlot("Heat capacity of two valleys", "temperature", "heat capacity")
	logarithmic(p)
	if err := errors.Join(readings(p, "Var(E)/T²", hues[1], variance), readings(p, "dU/dT", hues[2], slope)); err != nil {
		return err
	}
	var exact []point
	for t := 0.1; t < 5; t *= 1.04 {
		exact = append(exact, point{t, thermo.Reading{Value: d.capacity(t)}})
	}
	if err := joined(p, "exact", grey, exact); err != nil {
		return err
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max, p.Legend.Top = 0.1, 5, 0, 10, true
	return save(filepath.Join(out, "sampling-capacity.svg"), p)
}

// doubleWell is E = barrier·(x² − 1)² + x/2: the left well is deeper by 1.
type doubleWell struct{ barrier float64 }

func (doubleWell) Dim() int { return 1 }

func (d doubleWell) Energy(theta []float64) float64 {
	u := theta[0]*theta[0] - 1
	return d.barrier*u*u + theta[0]/2
}

func (d doubleWell) Gradient(theta, gradient []float64) float64 {
	gradient[0] = 4*d.barrier*theta[0]*(theta[0]*theta[0]-1) + 0.5
	return d.Energy(theta)
}

// right is the exact share of the right well.
func (d doubleWell) right(temperature float64) float64 {
	var all, right float64
	for x := -3.0; x < 3; x += 1e-4 {
		w := math.Exp(-d.Energy([]float64{x}) / temperature)
		all += w
		if x > 0 {
			right += w
		}
	}
	return right / all
}

// tempering draws four chains in a double well, alone and with parallel
// tempering.
func tempering(ctx context.Context, out string) error {
	d := doubleWell{12}
	o := sampler.Options{Warmup: 1000, Draws: 2000, Thin: 1, Seed: 1}
	alone, err := sampler.Run(ctx, same(d), sampler.NUTS{StepSize: 0.1}, o)
	if err != nil {
		return err
	}
	tempered, err := sampler.RunTempered(ctx, same(d), sampler.NUTS{StepSize: 0.1}, sampler.Ladder{Hottest: 15, Rungs: 6}, o)
	if err != nil {
		return err
	}
	var plots []*plot.Plot
	for _, run := range []struct {
		title  string
		result *sampler.Result
	}{{"NUTS alone", alone}, {"six temperatures from 1 to 15", tempered.Result}} {
		right := rightOf(run.result)
		fmt.Printf("%s: R-hat %.3f, %s of the draws in the right well, exact %.3f\n", run.title, sampler.RHat(run.result.Chain(0)),
			thermo.FormatError(stat.Mean(slices.Concat(right...), nil), sampler.MCSE(right)), d.right(1))
		p := newPlot(run.title, "draw", "position x")
		if err := traces(p, run.result.Chain(0)); err != nil {
			return err
		}
		plots = append(plots, p)
	}
	fmt.Printf("%d round trips, barrier %.2f, swap rates %.2f\n", tempered.RoundTrips, tempered.Barrier, tempered.SwapRates)
	return save(filepath.Join(out, "sampling-tempering.svg"), plots...)
}

// rightOf tells of every draw whether it is in the right well.
func rightOf(r *sampler.Result) [][]float64 {
	chains := r.Chain(0)
	for _, chain := range chains {
		for t, x := range chain {
			chain[t] = 0
			if x > 0 {
				chain[t] = 1
			}
		}
	}
	return chains
}

// coldPosterior draws a curve of kelvin sample --net --json.
func coldPosterior(path, out string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	type reading struct{ Value, StdErr float64 }
	var d struct {
		Curve []struct {
			Temperature   float64
			LogLikelihood reading `json:"log_likelihood"`
			Accuracy, ECE reading
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if len(d.Curve) == 0 {
		return fmt.Errorf("reading %s: expected the curve of kelvin sample --net --json", path)
	}
	scores := make([][]point, 3)
	for _, p := range d.Curve {
		for i, r := range []reading{p.LogLikelihood, p.Accuracy, p.ECE} {
			scores[i] = append(scores[i], point{p.Temperature, thermo.Reading{Value: r.Value, StdErr: r.StdErr}})
		}
	}
	var plots []*plot.Plot
	for i, title := range []string{"test log-likelihood (nat)", "test accuracy", "calibration error"} {
		p := newPlot(title, "temperature", "")
		logarithmic(p)
		if err := errors.Join(readings(p, "", hues[i], scores[i]), joined(p, "", hues[i], scores[i])); err != nil {
			return err
		}
		plots = append(plots, p)
	}
	return save(filepath.Join(out, "sampling-cold.svg"), plots...)
}
