package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/spf13/cobra"
)

var shots = flag.String("shots", "", "save screenshots of the pages to this folder")

// pageCases are commands that write every page there is: some findings, several
// layers, errors, and what may be missing.
var pageCases = []string{
	"measure trained --data moons.npz --draws 400 --seed 1",
	"engine deep --data digits.npz --state init --draws 16",
	"curvature trained --data moons.npz",
	"compare trained trained2 --data moons.npz --probes 6 --steps 40",
	"spectrum deep/checkpoints/step-000000000.safetensors deep/checkpoints/step-000000020.safetensors",
	"calibrate trained --data now.npz",
	"decode-temperature --logits z.npy --tokens t.npy",
	"drift trained --reference moons.npz --current now.npz",
	"watch diverged --once",
	"transitions trained",
	"report trained",
	"train --data moons.npz --layers 2,4,2 --steps 200 --out another",
	"sample --model schools.json --data data.json --hottest 6 --rungs 4 --draws 200 --warmup 200",
	"sample --net trained --data moons.npz --temperature 1,0.1 --chains 2 --warmup 50 --draws 100",
	"llc trained --data moons.npz --layers --chains 2 --warmup 50 --draws 100",
	"capacity trained --data moons.npz --temperatures 0.1:10:5 --chains 2 --warmup 50 --draws 100",
	"ising run --size 16 --temperature 2,2.269,2.5 --replicas 3 --sweeps 300",
	"ising thermometer two.npz",
	"ising learn --sizes 6,8,10 --seeds 2 --samples 6",
	"energy plan --train train.csv --power power.csv --baseline-batch 64 --target 0.5",
	"energy simulate --train train.csv --power power.csv --baseline-batch 64 --target 0.5 --seeds 5 --recurrences 10",
	"energy pipeline --profile profile.csv --stages 2 --microbatches 2 --idle-power 10",
	"energy efficiency recorded",
	"cool map --floorplan chip.flp --power chip.ptrace --transient",
	"cool optimise --floorplan chip.flp --power chip.ptrace --grid 20x20 --tec 2x2",
	"collapse simulate --model gaussian --samples 20 --generations 10 --runs 8",
	"collapse phase --classes 2 --samples 200 --steps 5",
	"collapse monitor gen0.jsonl gen1.jsonl",
	"theory efficiency --q 2",
	"theory efficiency --q 2 --activation tanh",
	"theory linear --in model.json",
	"theory softmax --classes 1000 --spread 3",
}

// pageFiles writes what the cases read: the files of the scripts, and more.
func pageFiles(t *testing.T, dir string) {
	member := regexp.MustCompile(`(?m)^-- (\S+) --\n`)
	for _, script := range []string{"energy", "energy_efficiency", "cool", "sample", "watch", "theory_linear"} {
		text, err := os.ReadFile("testdata/script/" + script + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		places := append(member.FindAllSubmatchIndex(text, -1), []int{len(text)})
		for i, p := range places[:len(places)-1] {
			path := filepath.Join(dir, string(text[p[2]:p[3]]))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text[p[1]:places[i+1][0]], 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Chdir(dir)
	for _, c := range []string{
		"data make digits --part train --out digits.npz",
		"data make two-moons --examples 200 --noise 0.2 --out moons.npz",
		"data make two-moons --examples 200 --noise 0.6 --seed 3 --out now.npz",
		"train --data moons.npz --layers 2,8,2 --activation tanh --weight-decay 0.01 --steps 3000 --out trained",
		"train --data moons.npz --layers 2,8,2 --activation tanh --weight-decay 0.01 --steps 3000 --seed 2 --out trained2",
		"ising run --size 16 --temperature 2,2.269,2.5 --replicas 3 --sweeps 300 --out two.npz",
		"train --data digits.npz --layers 64,32,32,32,10 --activation tanh --init normal --steps 20 --out deep",
	} {
		kelvin(t, strings.Fields(c)...)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	const positions, vocabulary = 400, 20
	logits, tokens := make([]float32, positions*vocabulary), make([]int64, positions)
	for i := range logits {
		logits[i] = float32(2 * rng.NormFloat64())
	}
	for i := range tokens {
		tokens[i] = rng.Int64N(vocabulary)
	}
	writeNPY(t, "z.npy", "<f4", fmt.Sprintf("%d, %d", positions, vocabulary), logits)
	writeNPY(t, "t.npy", "<i8", fmt.Sprintf("%d,", positions), tokens)
	for generation, words := range []int{400, 40} {
		var b bytes.Buffer
		for range 300 {
			b.WriteString(`{"text":"`)
			for range 30 {
				fmt.Fprintf(&b, "w%d ", rng.IntN(words))
			}
			b.WriteString("\"}\n")
		}
		if err := os.WriteFile(fmt.Sprintf("gen%d.jsonl", generation), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// pageNames returns the commands that write a page, as they are typed.
func pageNames(c *cobra.Command) []string {
	var names []string
	if c.Flags().Lookup("html") != nil {
		names = append(names, strings.TrimPrefix(c.CommandPath(), "kelvin "))
	}
	for _, sub := range c.Commands() {
		names = append(names, pageNames(sub)...)
	}
	return names
}

// pageDocument is what a page holds.
type pageDocument struct {
	Page *struct {
		Facts    []struct{ Label, Value string }
		Findings []json.RawMessage
		Sections []struct {
			Title  string
			Charts []map[string]any
			Table  *struct {
				Columns []string
				Words   []bool
				Rows    [][]string
			}
		}
	}
}

var pageData = regexp.MustCompile(`(?s)<script type="application/json" id="kelvin-data">(.*?)</script>`)

// TestEveryPage writes the page of every command, holds it against what is
// promised in docs/dashboard.md, and opens it.
func TestEveryPage(t *testing.T) {
	if *shots != "" {
		folder, err := filepath.Abs(*shots)
		if err != nil {
			t.Fatal(err)
		}
		*shots = folder
	}
	pageFiles(t, t.TempDir())
	missing := map[string]bool{}
	for _, name := range pageNames(newRootCommand()) {
		missing[name] = true
	}
	open := pageOpener(t)
	for i, c := range pageCases {
		args := strings.Fields(c)
		maps.DeleteFunc(missing, func(name string, _ bool) bool { return strings.HasPrefix(c+" ", name+" ") })
		name := strings.ReplaceAll(strings.TrimSpace(strings.SplitN(c, "--", 2)[0]), " ", "-")
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			status, _, errs := command(append(args, "--html", "missing/page.html")...)
			if took := time.Since(began); status != exitFailed || !strings.Contains(errs, "writing missing/page.html: no such file or directory") || took > time.Second {
				t.Errorf("a page that cannot be written: status %d after %v: %s", status, took, errs)
			}
			file := fmt.Sprintf("%02d-%s.html", i, strings.ReplaceAll(name, "/", "-"))
			if status, _, errs := command(append(args, "--html", file)...); status != exitDone {
				t.Fatalf("status %d: %s", status, errs)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var d pageDocument
			readJSON(t, pageData.FindSubmatch(text)[1], &d)
			charts, findings := -1, -1 // not known of the page of a run
			if d.Page != nil {
				charts, findings = checkPage(t, args, d), len(d.Page.Findings)
			}
			open(t, file, charts, findings)
		})
	}
	if len(missing) > 0 {
		t.Errorf("no case for %v", slices.Sorted(maps.Keys(missing)))
	}
}

// checkPage checks titles and heads, where the numbers come from, and that there is
// something to see; it returns how many charts there are.
func checkPage(t *testing.T, args []string, d pageDocument) (charts int) {
	t.Helper()
	facts := map[string]string{}
	for _, f := range d.Page.Facts {
		facts[f.Label] = f.Value
	}
	if !strings.HasPrefix(facts["command"], "kelvin "+args[0]) || !strings.Contains(facts["command"], "--html") {
		t.Errorf("the page does not say the command: %q", facts["command"])
	}
	if c, _, err := newRootCommand().Find(args); err != nil || c.Flags().Lookup("seed") != nil && facts["seed"] == "" {
		t.Errorf("the page does not say the seed: %v %v", facts, err)
	}
	for _, s := range d.Page.Sections {
		for _, c := range s.Charts {
			charts++
			if c["caption"] == "" {
				t.Errorf("%s: a chart without a caption", s.Title)
			}
			for _, key := range []string{"x", "y", "axis", "unit"} {
				title, ok := c[key].(string)
				if !ok || c["kind"] == "heatmap" && key == "x" && title == "" && c["from"] == c["to"] {
					continue // a strip has no x
				}
				if !hasUnit(title) {
					t.Errorf("%s: chart %q: the title of %s has no unit that docs/dashboard.md lists: %q", s.Title, c["caption"], key, title)
				}
			}
		}
		if s.Table == nil {
			continue
		}
		for j, head := range s.Table.Columns {
			if !s.Table.Words[j] && !hasUnit(head) {
				t.Errorf("%s: the column %q has no unit that docs/dashboard.md lists", s.Title, head)
			}
		}
	}
	if charts == 0 {
		t.Error("a page without a chart")
	}
	return charts
}

// units are those that docs/dashboard.md lists.
var units = strings.Fields(`1 count loss energy nat energy/nat energy/θ² energy²/θ² θ²/energy θ θ² signal² J J/nat J/bit W s K °C A mm % bit
	1/energy nat/word documents examples draws runs units spins directions`)

var inBrackets = regexp.MustCompile(`\S.* \(([^()]+)\)$`)

func hasUnit(title string) bool {
	m := inBrackets.FindStringSubmatch(title)
	return m != nil && (slices.Contains(units, m[1]) || slices.Contains([]string{"energy units", "own unit", "unit of the row", "as recorded"}, m[1]))
}

// pageOpener starts Chromium and returns what opens a page in it, which must show so
// many charts and findings, complain of nothing, and fit a phone. Without Chromium
// it does nothing.
func pageOpener(t *testing.T) func(t *testing.T, file string, charts, findings int) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Log("SKIP: no chromium to open the pages with")
		return func(*testing.T, string, int, int) {}
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	page := ctx
	t.Cleanup(func() { chromedp.Cancel(page) })
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	var complaints []string
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError {
				complaints = append(complaints, string(e.Args[0].Value))
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, file string, charts, findings int) {
		complaints = nil
		whole, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		look := func(scheme string, steps ...chromedp.Action[chromedp.Void]) {
			if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
				t.Fatal(err)
			}
			if err := chromedp.Do(ctx, steps...); err != nil {
				t.Fatal(err)
			}
		}
		until := func(expression string) {
			t.Helper()
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")")); err == nil && ok {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("never true: %s", expression)
				}
			}
		}
		shot := func(kind string) {
			if *shots == "" {
				return
			}
			time.Sleep(300 * time.Millisecond) // what fades in
			picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*shots, strings.TrimSuffix(file, ".html")+"-"+kind+".png"), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		look("light", chromedp.EmulateViewport(1200, 900), chromedp.Navigate((&url.URL{Scheme: "file", Path: whole}).String()))
		until(`document.querySelectorAll('figure').length > 0`)
		if charts >= 0 {
			until(fmt.Sprintf(`document.querySelectorAll('figure').length == %d && document.querySelectorAll('.finding').length == %d`, charts, findings))
		}
		until(`[...document.querySelectorAll('figure')].every((f) => f.querySelector('canvas'))`)
		for i := range findings { // each leads to what shows it
			link := fmt.Sprintf(`document.querySelectorAll('.finding')[%d].querySelector('a')`, i)
			until(link)
			until(fmt.Sprintf(`(document.activeElement.blur(), %s.click(), true)`, link))
			until(`(() => { const p = document.querySelector('section.pointed'), b = p?.getBoundingClientRect(); return p?.contains(document.activeElement) && b.top < innerHeight && b.bottom > 0 && location.hash.slice(1).startsWith(p.id) })()`)
		}
		shot("light")
		look("dark")
		shot("dark")
		look("light", chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
		until(`document.documentElement.scrollWidth <= 390`)
		shot("phone")
		for _, c := range complaints {
			t.Errorf("the page complains: %s", c)
		}
	}
}
