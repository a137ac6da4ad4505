// Command collapse draws the heat death of a generative model as small multiples:
// a mixture of normal clouds, refitted to its own samples at three temperatures.
//
//	go run ./examples/collapse docs/img/heat-death.svg
//	go run ./examples/collapse -power docs/img/collapse-power.svg
//	go run ./examples/collapse -corpora generations
//
// With -power it draws how often the monitor of corpora finds a change; with
// -corpora it writes corpora whose words are drawn at 1, 0.97 and 0.9.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/kelvin-ml/kelvin/collapse"
	"github.com/kelvin-ml/kelvin/report"
)

const (
	samples = 300
	cell    = 130.0
	reach   = 8.0 // of the axes, both ways
)

func main() {
	power := flag.String("power", "", "draw the power of the monitor to this `file`")
	corpora := flag.String("corpora", "", "write generations to this `folder`")
	flag.Parse()
	var err error
	switch {
	case *power != "":
		err = drawPower(*power)
	case *corpora != "":
		err = writeGenerations(*corpora)
	case flag.NArg() == 1:
		err = os.WriteFile(flag.Arg(0), []byte(draw()), 0o644)
	default:
		err = errors.New("expected the file to write, -power FILE or -corpora FOLDER")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func draw() string {
	generations := []int{0, 1, 5, 10, 20, 40}
	temperatures := []float64{0.9, 1, 1.1}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="system-ui, sans-serif" font-size="13">`, 70+cell*float64(len(generations)), 30+cell*float64(len(temperatures)))
	fmt.Fprint(&b, `<rect width="100%" height="100%" fill="#fbfbf9"/>`)
	for j, g := range generations {
		fmt.Fprintf(&b, `<text x="%g" y="20" text-anchor="middle" fill="#5b6675">generation %d</text>`, 70+cell*(float64(j)+0.5), g)
	}
	for i, t := range temperatures {
		fmt.Fprintf(&b, `<text x="60" y="%g" text-anchor="end" fill="#1c2430">τ = %g</text>`, 30+cell*(float64(i)+0.5), t)
		r := rand.New(rand.NewPCG(1, uint64(i)))
		world := collapse.NewMixture()
		model := world.Truth
		data, err := model.Sample(samples, 1, r)
		at := 0
		for g := 0; err == nil && g <= generations[len(generations)-1]; g++ {
			if g == generations[at] {
				panel(&b, 70+cell*float64(at), 30+cell*float64(i), data, report.Scale(float64(i)/float64(len(temperatures)-1)))
				at++
			}
			next := world.New()
			if err = next.Fit(data, r); err == nil {
				data, err = next.Sample(samples, t, r)
			}
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func panel(b *strings.Builder, left, top float64, data collapse.Data, colour string) {
	fmt.Fprintf(b, `<rect x="%g" y="%g" width="%g" height="%g" fill="#ffffff" stroke="#d9dee5"/>`, left+3, top+3, cell-6, cell-6)
	for k := range data.Len() {
		x, y := data.X[2*k]/reach, data.X[2*k+1]/reach
		if x > -1 && x < 1 && y > -1 && y < 1 {
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="1.3" fill="%s" fill-opacity="0.7"/>`, left+cell/2+x*(cell/2-4), top+cell/2-y*(cell/2-4), colour)
		}
	}
}
