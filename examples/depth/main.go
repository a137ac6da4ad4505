// Command depth asks whether the balanced initialisation lets deep networks
// learn: multilayer perceptrons on handwritten digits, against PyTorch's default
// and its recommended gains, with the same data, batches and steps.
// docs/balanced-init.md shows what it prints.
//
//	go run ./examples/depth [-svg energies.svg] [-seeds 5] [-steps 300] [-layers 30] [tanh …]
//
// It prints each row when it is done; the energies of the layers follow at the
// end, or when it is interrupted.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"

	"github.com/kelvin-ml/kelvin/dataset"
)

var activations = []string{"tanh", "softsign", "sin", "gelu", "silu", "elu", "sigmoid"}

func main() {
	log.SetFlags(0)
	e := experiment{width: 64, batch: 64, rates: []float64{1e-4, 3e-4, 1e-3, 3e-3}}
	svg := flag.String("svg", "", "`file` for the picture of the energies of the layers before training")
	flag.IntVar(&e.seeds, "seeds", 5, "runs of each row, at least 2; one more chooses the learning rate")
	flag.IntVar(&e.steps, "steps", 300, "steps of Adam")
	layers := flag.Int("layers", 0, "only networks of so many linear `layers`, at least 3; 30 and then 100 if not given")
	flag.Parse()
	if e.seeds < 2 || e.steps < 1 || *layers != 0 && *layers < 3 {
		log.Fatal("expected -seeds of at least 2, -steps of at least 1 and -layers of at least 3")
	}
	for _, name := range flag.Args() {
		if !slices.Contains(activations, name) {
			log.Fatalf("expected activations out of %v, got %q", activations, name)
		}
	}
	if flag.NArg() > 0 {
		activations = flag.Args()
	}
	depths := []int{30, 100}
	if *layers > 0 {
		depths = []int{*layers}
	}
	var failed error
	if e.train, e.test, failed = digits(); failed != nil {
		log.Fatal(failed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if failed := e.printHead(os.Stdout); failed != nil {
		log.Fatal(failed)
	}
	rows, err := e.all(ctx, os.Stdout, depths)
	printEnergies(os.Stdout, rows)
	if *svg != "" && len(rows) > 0 {
		if failed := drawEnergies(*svg, rows); failed != nil {
			log.Fatal(failed)
		}
	}
	switch {
	case ctx.Err() != nil:
		log.Fatalf("interrupted after %d rows", len(rows))
	case err != nil:
		log.Fatal(err)
	}
}

// digits returns the handwritten digits, four fifths to train on, their pixels
// less the mean and divided by the standard deviation of those four fifths, so
// that the mean square of the input is 1.
func digits() (train, test *dataset.Set, err error) {
	all, err := dataset.Make("digits", dataset.Options{})
	if err != nil {
		return nil, nil, err
	}
	if train, test, err = all.Split(0.2, 0); err != nil {
		return nil, nil, err
	}
	mean, deviation := meanDeviation(train.X)
	for _, x := range [][]float32{train.X, test.X} {
		for i := range x {
			x[i] = float32((float64(x[i]) - mean) / deviation)
		}
	}
	return train, test, nil
}

// all prints and returns the rows, or those before the error.
func (e experiment) all(ctx context.Context, w io.Writer, depths []int) (rows []row, err error) {
	for _, depth := range depths {
		for _, activation := range activations {
			more, err := e.compare(ctx, w, activation, depth)
			if rows = append(rows, more...); err != nil {
				return rows, err
			}
		}
	}
	return rows, nil
}

// compare prints and returns the rows of one activation and depth, one for each
// scheme.
func (e experiment) compare(ctx context.Context, w io.Writer, activation string, depth int) (rows []row, err error) {
	all, err := schemes(activation)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		r, err := e.row(ctx, activation, depth, s)
		if err != nil {
			return rows, fmt.Errorf("%s, %d layers, %s: %w", activation, depth, s.name, err)
		}
		if len(rows) > 0 {
			r.balanced = rows[0].runs
		}
		e.printRow(w, r)
		rows = append(rows, r)
	}
	return rows, nil
}
