// Command ising draws the pictures of docs/ising.md and prints its numbers:
// lattices at three temperatures, the curves beside the exact results, the
// thermometer from 1.5 to 5, and the finite-size scaling of the critical
// point.
//
//	go run ./examples/ising -out docs/img [lattices curves thermometer scaling]
package main

import (
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/kelvin-ml/kelvin/ising"
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "docs/img", "folder for the pictures")
	quick := flag.Bool("quick", false, "an eighth of the statistics")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := os.MkdirAll(*out, 0o755); err != nil {
		log.Fatal(err)
	}
	effort := 1
	if !*quick {
		effort = 8
	}
	parts := map[string]func(context.Context, string, int) error{
		"lattices": lattices, "curves": curves, "thermometer": thermometer, "scaling": scaling}
	names := flag.Args()
	if len(names) == 0 {
		names = []string{"lattices", "curves", "thermometer", "scaling"}
	}
	for _, name := range names {
		draw, ok := parts[name]
		if !ok {
			log.Fatalf("no part %q: lattices, curves, thermometer or scaling", name)
		}
		if err := draw(ctx, *out, effort); err != nil {
			log.Fatal(err)
		}
	}
}

// lattices draws one 256×256 configuration below, at and above the critical
// temperature.
func lattices(ctx context.Context, out string, _ int) error {
	const size, gap = 256, 12
	sim, err := ising.New(ising.Config{Model: ising.Model{Lattice: ising.Square, Size: size, Coupling: 1},
		Temperatures: []float64{2.1, ising.Tc, 2.6}, Algorithm: ising.SwendsenWang, Sweeps: 1, Warmup: 400, Interval: 1, Replicas: 1, Seed: 3})
	if err != nil {
		return err
	}
	if err := sim.Run(ctx); err != nil {
		return err
	}
	palette := color.Palette{color.White, color.RGBA{0x1f, 0x3a, 0x5f, 0xff}, color.Transparent}
	picture := image.NewPaletted(image.Rect(0, 0, 3*size+2*gap, size), palette)
	for i := range picture.Pix {
		picture.Pix[i] = 2
	}
	for k := range 3 {
		spins, err := sim.Spins(k, 0)
		if err != nil {
			return err
		}
		for i, s := range spins {
			picture.SetColorIndex(k*(size+gap)+i%size, i/size, uint8(s+1)/2)
		}
	}
	f, err := os.Create(filepath.Join(out, "ising-lattices.png"))
	if err != nil {
		return err
	}
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, picture); err != nil {
		return err
	}
	return f.Close()
}

// curves measures 64×64 at nineteen temperatures and draws it beside the exact
// results.
func curves(ctx context.Context, out string, effort int) error {
	const size = 64
	temperatures := []float64{1.5, 1.6, 1.7, 1.8, 1.9, 2, 2.1, 2.15, 2.2, 2.23, 2.26, 2.29, 2.32, 2.35, 2.4, 2.5, 2.6, 2.8, 3}
	sim, err := ising.New(ising.Config{Model: ising.Model{Lattice: ising.Square, Size: size, Coupling: 1},
		Temperatures: temperatures, Algorithm: ising.Wolff, Sweeps: 1000 * effort, Warmup: 200, Interval: 1, Replicas: 1, Seed: 4})
	if err != nil {
		return err
	}
	if err := sim.Run(ctx); err != nil {
		return err
	}
	points := sim.Points()
	fmt.Println("L = 64, Wolff\nT\tenergy\texact\tspecific heat\texact\t|m|\tYang, L = ∞")
	for _, p := range points {
		e, c := ising.Torus(size, p.Temperature)
		fmt.Printf("%.2f\t%v\t%.5f\t%v\t%.4f\t%v\t%.5f\n", p.Temperature, p.Energy, e, p.SpecificHeat, c, p.AbsMagnetisation, ising.Magnetisation(p.Temperature))
	}
	return drawCurves(filepath.Join(out, "ising-curves.svg"), size, points)
}

// thermometer reads one 256×256 snapshot at each of several temperatures.
func thermometer(ctx context.Context, out string, _ int) error {
	var temperatures []float64
	for t := 1.5; t < 5.01; t += 0.25 {
		temperatures = append(temperatures, t)
	}
	sim, err := ising.New(ising.Config{Model: ising.Model{Lattice: ising.Square, Size: 256, Coupling: 1},
		Temperatures: temperatures, Algorithm: ising.SwendsenWang, Sweeps: 1, Warmup: 300, Interval: 1, Replicas: 1, Seed: 5})
	if err != nil {
		return err
	}
	if err := sim.Run(ctx); err != nil {
		return err
	}
	fmt.Println("\none snapshot of 256×256\ntrue T\tmeasured T\tz")
	points := sim.Points()
	if len(points) != len(temperatures) {
		return fmt.Errorf("%d points, expected %d", len(points), len(temperatures))
	}
	for _, p := range points {
		r := p.MeasuredTemperature
		fmt.Printf("%.2f\t%v\t%+.2f\n", p.Temperature, r, (r.Value-p.Temperature)/r.StdErr)
	}
	return drawThermometer(filepath.Join(out, "ising-thermometer.svg"), points)
}

// scaling finds the critical temperature and the exponents.
func scaling(ctx context.Context, out string, effort int) error {
	data, err := ising.ScalingPoints(ctx, []int{16, 24, 32, 48, 64, 96}, 2.27, 3000*effort, 2, 6)
	if err != nil {
		return err
	}
	s, err := ising.FiniteSizeScaling(data)
	if err != nil {
		return err
	}
	fmt.Println("\nBinder crossings")
	for _, c := range s.Crossings {
		fmt.Printf("%d–%d\t%v\tU = %.4f\n", c.Small, c.Large, c.Temperature, c.Binder)
	}
	fmt.Printf("Tc\t%v\texact %.6f\nbeta/nu\t%v\texact 0.125\ngamma/nu\t%v\texact 1.75\n1/nu\t%v\texact 1\n", s.Tc, ising.Tc, s.Beta, s.Gamma, s.Nu)
	return drawBinder(filepath.Join(out, "ising-binder.svg"), data)
}
