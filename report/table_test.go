package report

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func table() Table {
	return Table{
		Columns: []string{"layer", "temperature (energy/nat)", "verdict"},
		Words:   map[int]bool{2: true},
		Heat:    []float64{0, 1, math.NaN()},
		Rows: [][]string{
			{"0", "0.0123 ± 0.0004", "fine"},
			{"encoder.layers.11.attention", "(1.2 ± 0.3)×10⁻⁵", "colder than the others by far"},
			{"層\x1b[2J", "1", ""},
		},
	}
}

func TestTablePlain(t *testing.T) {
	var b bytes.Buffer
	if err := table().Print(&b); err != nil {
		t.Fatal(err)
	}
	want := `
layer                        temperature (energy/nat)  verdict
0                                     0.0123 ± 0.0004  fine
encoder.layers.11.attention          (1.2 ± 0.3)×10⁻⁵  colder than the others by far
層�[2J                                              1
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got %s", got)
	}
}

func TestTableOnTerminal(t *testing.T) {
	got := table().render(60, true)
	want := strings.ReplaceAll(`
  layer            temperature (energy/nat)  verdict
E[38;5;61m■E[0m 0                         0.0123 ± 0.0004  fine
E[38;5;215m■E[0m encode…tention           (1.2 ± 0.3)×10⁻⁵  colder… by far
  層�[2J                                  1
`, "E", "\x1b")
	if got = "\n" + got; got != want {
		t.Errorf("got %s", strings.ReplaceAll(got, "\x1b", "E"))
	}
	for _, width := range []int{1, 20, 60, 80} {
		for _, line := range strings.Split(table().render(width, false), "\n") {
			if n := columns(line); n > max(width, 44) {
				t.Errorf("width %d: a line of %d columns: %q", width, n, line)
			}
		}
	}
}

func TestTableDocument(t *testing.T) {
	got, err := json.Marshal(Table{Columns: []string{"layer", "T", "why"}, Words: map[int]bool{2: true}, Rows: [][]string{{"0", "1", "hot"}}, Heat: []float64{0.5}})
	if want := `{"columns":["layer","T","why"],"words":[true,false,true],"rows":[["0","1","hot"]],"heat":[0.5]}`; err != nil || string(got) != want {
		t.Errorf("got %s %v", got, err)
	}
}

func TestShorten(t *testing.T) {
	if got := shorten("averyveryverylongname", 12); got != "avery…ngname" || shorten("short", 12) != "short" {
		t.Errorf("got %s", got)
	}
}
