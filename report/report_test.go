package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

var update = flag.Bool("update", false, "write the golden files")

const hostile = `</svg><script>alert("x")</script>&'`

var nan, inf = math.NaN(), math.Inf(1)

func bars() BarChart {
	return BarChart{Caption: "Temperatures.", Axis: "temperature (energy/nat)", Readings: []thermo.Reading{
		{Group: "0", Value: 1.266e-5, StdErr: 1.6e-7, Unit: "energy/nat"},
		{Group: "encoder.layers.11.self_attention.query", Value: -3e-6, StdErr: nan, Unit: "energy/nat"},
		{Group: hostile, Value: 3e-5, StdErr: 2e-6, Invalid: hostile},
		{Group: "4", Value: nan, StdErr: nan},
	}}
}

func lines() LineChart {
	return LineChart{Caption: "The run.", X: "step", Y: "energy (nat)", LogY: true, Lines: []Line{
		{Name: "training", X: []float64{0, 1, 2, 3, 4, 5}, Y: []float64{2, 1, nan, 0.5, 0, 0.25}, Band: []float64{0.1, 0.1, nan, 0.6, 0.1, 0.01}},
		{Name: hostile, X: []float64{0, 5}, Y: []float64{1, 3}, Hotness: 1},
	}}
}

func heat() HeatMap {
	return HeatMap{Caption: "Layers in time.", X: "step", X1: 1000, Unit: "temperature (energy/nat)", Log: true,
		Rows: []string{"0", hostile}, Values: [][]float64{{1e-5, 2e-5, 2e-5, nan}, {1e-3, 0, inf, 1e-4}}}
}

func scatter() ScatterChart {
	return ScatterChart{Caption: "Both.", X: "rank (1)", Y: "heat (energy)", Diagonal: true, Dots: []Dot{
		{Name: hostile, X: 1, Y: 2, ErrX: 0.1, ErrY: nan}, {X: 3, Y: 2.5, ErrY: 0.2, Hotness: 1}, {X: nan, Y: 1}}}
}

// charts are all kinds of charts, with all that can go wrong in them.
func charts() map[string]template.HTML {
	dots := bars()
	dots.Dots = true
	return map[string]template.HTML{
		"bars": bars().Bars(), "dots": dots.Bars(), "lines": lines().Plot(), "heatmap": heat().Map(), "scatter": scatter().Plot(),
		"reliability": Reliability("Calibration.", []CalibrationBin{{0.55, 0.5, 10}, {0.75, 0, 0}, {0.95, 1, 90}}).Plot(),
	}
}

// TestGolden holds the charts against what was looked at and found good.
func TestGolden(t *testing.T) {
	for name, chart := range charts() {
		path := filepath.Join("testdata", name+".svg.html")
		got := strings.ReplaceAll(string(chart), "><", ">\n<")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s changed: look at it, then go test ./report -update", name)
		}
	}
}

// TestCharts parses every chart as XML: escaped, closed, without places that are
// not finite, with a name, a description and titles on its axes.
func TestCharts(t *testing.T) {
	titles := map[string][]string{
		"bars": {"temperature (10⁻⁵ energy/nat)"}, "dots": {"temperature (10⁻⁵ energy/nat)"}, "lines": {"step", "energy (nat)"},
		"heatmap": {"step", "temperature (energy/nat), logarithmic"}, "scatter": {"rank (1)", "heat (energy)"}, "reliability": {"confidence", "accuracy"},
	}
	bad := regexp.MustCompile(`NaN|Inf`)
	for name, chart := range charts() {
		texts := map[string]int{}
		svgs, descriptions := 0, 0
		d := xml.NewDecoder(strings.NewReader(string(chart)))
		d.Entity = xml.HTMLEntity
		inText := ""
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			switch token := token.(type) {
			case xml.StartElement:
				inText = token.Name.Local
				switch inText {
				case "script":
					t.Errorf("%s: a name became a script", name)
				case "svg":
					svgs++
				case "desc":
					descriptions++
				}
				for _, a := range token.Attr {
					if a.Name.Local != "aria-label" && bad.MatchString(a.Value) {
						t.Errorf("%s: <%s %s=%q>", name, inText, a.Name.Local, a.Value)
					}
				}
			case xml.CharData:
				if inText == "text" {
					texts[string(token)]++
				}
			}
		}
		if svgs != 2 || descriptions != 2 {
			t.Errorf("%s: %d drawings with %d descriptions", name, svgs, descriptions)
		}
		for _, title := range titles[name] {
			if texts[title] != 2 {
				t.Errorf("%s: %q stands %d times in %v", name, title, texts[title], texts)
			}
		}
	}
	for name, note := range map[string]string{"lines": "positive: 2.", "heatmap": "positive: 3.", "scatter": "finite: 1."} {
		if !strings.Contains(string(charts()[name]), note) {
			t.Errorf("%s does not say that it left out %s", name, note)
		}
	}
}

// TestEmptyCharts draws nothing, one point and extremes.
func TestEmptyCharts(t *testing.T) {
	bad := regexp.MustCompile(`="[^"]*(NaN|Inf)`)
	reading := func(x float64) []thermo.Reading { return []thermo.Reading{{Value: x}} }
	line := func(xs, ys []float64, log bool) LineChart {
		return LineChart{LogY: log, Lines: []Line{{X: xs, Y: ys}}}
	}
	for i, chart := range []template.HTML{
		BarChart{}.Bars(), BarChart{Dots: true}.Bars(), BarChart{Readings: reading(0)}.Bars(), BarChart{Readings: reading(inf)}.Bars(),
		BarChart{Readings: reading(math.MaxFloat64 / 4)}.Bars(), BarChart{Dots: true, Readings: reading(1e-300)}.Bars(),
		LineChart{}.Plot(), line([]float64{1}, []float64{1}, false).Plot(), line([]float64{1}, []float64{0}, true).Plot(),
		line([]float64{0, 1}, []float64{1e-300, 1e300}, true).Plot(), line([]float64{0, 1}, []float64{0.3, 0.3}, true).Plot(), line([]float64{nan}, []float64{nan}, false).Plot(),
		LineChart{LogX: true}.Plot(), LineChart{LogX: true, Lines: []Line{{X: []float64{1}, Y: []float64{1}, Band: []float64{1}}}}.Plot(),
		HeatMap{}.Map(), HeatMap{Rows: []string{"a"}, Values: [][]float64{{0}}, Log: true}.Map(), HeatMap{Rows: []string{"a"}, Values: [][]float64{{}}}.Map(),
		ScatterChart{}.Plot(), ScatterChart{Diagonal: true, Dots: []Dot{{X: 1, Y: 1}}}.Plot(), Reliability("", nil).Plot(),
	} {
		if at := bad.FindString(string(chart)); at != "" {
			t.Errorf("chart %d: %s", i, at)
		}
	}
}

// TestLogX puts powers of ten at equal distances, and leaves out what has no
// logarithm.
func TestLogX(t *testing.T) {
	chart := string(LineChart{LogX: true, Lines: []Line{{X: []float64{-1, 0.01, 0.1, 1}, Y: []float64{9, 1, 2, 3}}}}.Plot())
	if !strings.Contains(chart, `d="M66.0 250.0L401.0 130.0L736.0 10.0"`) || !strings.Contains(chart, "not finite or not positive: 1.") {
		t.Error(chart)
	}
}

// TestLongLine draws a million points in little, without losing a spike.
func TestLongLine(t *testing.T) {
	const n = 1_000_000
	l := Line{X: make([]float64, n), Y: make([]float64, n)}
	for i := range l.X {
		l.X[i] = float64(i)
	}
	l.Y[n/3] = 1
	x, y := newAxis(0, n, 0, 700, 5), newAxis(0, 1, 200, 0, 5)
	path := trace(l, x, y)
	if len(path) > 60_000 {
		t.Errorf("a path of %d bytes", len(path))
	}
	if !strings.Contains(path, "V0.0") {
		t.Error("the spike is lost")
	}
}

func TestDistinct(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"0 2 4", "0 2 4"},
		{"encoder.layers.0.mlp encoder.layers.1.mlp encoder.layers.10.mlp", "…0… …1… …10…"},
		{"encoder.layers.0.mlp encoder.layers", "…laye….0.mlp …layers"},
		{"encoder.layers.0.mlp encoder.layers.0.mlp", "…mlp …mlp"},
		{"averyveryverylongname", "avery…ngname"},
	} {
		if got := strings.Join(distinct(strings.Fields(c.in), 12), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
	for x, want := range map[float64]string{0: "0", 7.4567e-4: "7.46×10⁻⁴", -3e-6: "−3×10⁻⁶", 1234.5: "1230", 123456: "1.23×10⁵", 0.25: "0.25"} {
		if got := short(x); got != want {
			t.Errorf("short(%g) = %s, want %s", x, got, want)
		}
	}
}

func TestAxes(t *testing.T) {
	for _, c := range []struct {
		a      axis
		labels string
		title  string
	}{
		{newAxis(0, 3.24e-5, 0, 1, 5), "0 1 2 3 4", "x (10⁻⁵ s)"},
		{newAxis(-0.3, 0.9, 0, 1, 6), "−0.4 −0.2 0 0.2 0.4 0.6 0.8 1", "x (s)"},
		{newAxis(0, 2e6, 0, 1, 5), "0 0.5 1 1.5 2", "x (10⁶ s)"},
		{newAxis(7, 7, 0, 1, 5), "2 4 6 8 10 12", "x (s)"},
		{newLogAxis(math.Log10(0.25), math.Log10(4), 0, 1, 6), "0.2 0.5 1 2 5", "x (s)"},
		{newLogAxis(-8, 4, 0, 1, 6), "10⁻⁸ 10⁻⁶ 10⁻⁴ 0.01 1 100 10000", "x (s)"},
	} {
		var labels []string
		for _, tick := range c.a.ticks {
			labels = append(labels, c.a.label(tick))
		}
		if got := strings.Join(labels, " "); got != c.labels || c.a.title("x (s)") != c.title {
			t.Errorf("%q and %q, want %q and %q", got, c.a.title("x (s)"), c.labels, c.title)
		}
	}
}

// TestScale asks that equal steps look equal, that lightness rises, and that it
// does so for people without red or green cones too.
func TestScale(t *testing.T) {
	colour := func(x float64) [3]float64 {
		n, err := strconv.ParseUint(Scale(x)[1:], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		var rgb [3]float64
		for i := range rgb {
			c := float64(n>>(16-8*i)&255) / 255
			if c <= 0.04045 {
				rgb[i] = c / 12.92
			} else {
				rgb[i] = math.Pow((c+0.055)/1.055, 2.4)
			}
		}
		return rgb
	}
	// F. Viénot, H. Brettel, J. Mollon, Digital video colourmaps for checking
	// the legibility of displays by dichromats, 1999, in linear RGB.
	visions := map[string][3][3]float64{
		"all cones":   {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
		"protanope":   {{0.11238, 0.88762, 0}, {0.11238, 0.88762, 0}, {0.00401, -0.00401, 1}},
		"deuteranope": {{0.29275, 0.70725, 0}, {0.29275, 0.70725, 0}, {-0.02234, 0.02234, 1}},
	}
	const steps = 16
	for vision, m := range visions {
		least, most := inf, 0.0
		var before [3]float64
		for i := 0; i <= steps; i++ {
			rgb := colour(float64(i) / steps)
			var seen [3]float64
			for r := range m {
				seen[r] = math.Max(0, m[r][0]*rgb[0]+m[r][1]*rgb[1]+m[r][2]*rgb[2])
			}
			lab := okLab(seen)
			if i > 0 {
				if lab[0] <= before[0] {
					t.Errorf("%s: lightness falls at %d of %d", vision, i, steps)
				}
				d := math.Hypot(math.Hypot(lab[0]-before[0], lab[1]-before[1]), lab[2]-before[2])
				least, most = math.Min(least, d), math.Max(most, d)
			}
			before = lab
		}
		if limit := map[bool]float64{true: 1.2, false: 2.5}[vision == "all cones"]; most > limit*least {
			t.Errorf("%s: steps from %.4f to %.4f", vision, least, most)
		}
	}
	if Scale(-1) != Scale(0) || Scale(2) != Scale(1) || Scale(nan) != "#808080" {
		t.Error("numbers outside the scale")
	}
}

func okLab(rgb [3]float64) [3]float64 {
	l := math.Cbrt(0.4122214708*rgb[0] + 0.5363325363*rgb[1] + 0.0514459929*rgb[2])
	m := math.Cbrt(0.2119034982*rgb[0] + 0.6806995451*rgb[1] + 0.1073969566*rgb[2])
	s := math.Cbrt(0.0883024619*rgb[0] + 0.2817188376*rgb[1] + 0.6299787005*rgb[2])
	return [3]float64{0.2104542553*l + 0.7936177850*m - 0.0040720468*s, 1.9779984951*l - 2.4285922050*m + 0.4505937099*s, 0.0259040371*l + 0.7827717662*m - 0.8086757660*s}
}

// TestFindingLinks follows findings to the rows of their layers.
func TestFindingLinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	page := Page{
		Findings: []thermo.Finding{{Group: "2", What: "hot"}, {Group: "unknown", What: "cold"}, {What: "all"}},
		Sections: []Section{{ID: "layers", Table: &Table{Columns: []string{"layer"}, Rows: [][]string{{"0"}, {"2"}}}}, {ID: "more", Table: &Table{Columns: []string{"layer"}, Rows: [][]string{{"2"}}}}},
	}
	if err := page.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<a href="#layers-1">layer 2</a>: hot`, `<tr id="layers-1">`, `</span>layer unknown: cold`, `</span>all`} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func TestPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	page := Page{
		Title: hostile, Lead: hostile, Facts: []Fact{{hostile, hostile}},
		Figures:  []Figure{FigureOf(hostile, thermo.Reading{Value: 1, StdErr: 0.1, Unit: hostile, Invalid: hostile})},
		Findings: []thermo.Finding{{ID: "x", Severity: thermo.Critical, Group: hostile, What: hostile, Evidence: hostile, Change: hostile}},
		Sections: []Section{{ID: "s", Title: hostile, Text: hostile, Table: &Table{Columns: []string{"layer", hostile}, Words: map[int]bool{1: true}, Rows: [][]string{{"0", hostile}}}}},
	}
	for _, chart := range charts() {
		page.Sections[0].Charts = append(page.Sections[0].Charts, chart)
	}
	if err := page.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "http://", "https://", "url(", "<link", "@import", "src=", "ZgotmplZ"} {
		if bytes.Contains(got, []byte(bad)) {
			t.Errorf("the page holds %s", bad)
		}
	}
	for _, want := range []string{`lang="en"`, `<th scope="col"`, `<th scope="row"`, "prefers-color-scheme: dark", `class="finding critical"`, `id="s"`} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if err := page.WriteFile(filepath.Join(path, "nowhere.html")); err == nil {
		t.Error("a page was written into a file")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("files left: %v", entries)
	}
}
