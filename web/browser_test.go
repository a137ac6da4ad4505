package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"flag"
	"fmt"
	"image/color"
	"image/png"
	"math"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/thermo"
)

var shots = flag.String("shots", "", "save screenshots of the pages to this folder")

// browser starts Chromium and returns a context of one of its pages; it skips the
// test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	page := ctx
	t.Cleanup(func() { chromedp.Cancel(page) }) // waits until the browser has cleared up after itself
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page threw %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError {
				t.Errorf("the page complains: %s", e.Args[0].Value)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.EmulateViewport(1200, 900))
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// js evaluates an expression in the page.
func js[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	x, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return x
}

// until waits for an expression to be true.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")")); err == nil && ok {
			return
		}
	}
	shot(t, ctx, "never")
	t.Fatalf("never true: %s\n%s", expression, js[string](t, ctx, "document.body.innerText"))
}

// shot saves a picture of the whole page.
func shot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	time.Sleep(200 * time.Millisecond) // what fades in
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// serve starts a server of a folder at an address (":0" takes a free port), and
// returns its address and what ends it.
func serve(t *testing.T, root, listen, token string) (address string, stop func()) {
	t.Helper()
	s, err := New(root, token)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

const dark = `window.matchMedia('(prefers-color-scheme: dark)').matches`

func TestPages(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	address, stop := serve(t, root, "127.0.0.1:0", "")
	home := "http://" + address + "/"

	// None.
	do(t, ctx, chromedp.Navigate(home))
	until(t, ctx, `document.body.innerText.includes('There are no runs here yet')`)
	shot(t, ctx, "empty")

	// One without records, which come while it is looked at.
	young, err := run.Create(filepath.Join(root, "young"), nil)
	if err != nil {
		t.Fatal(err)
	}
	until(t, ctx, `document.querySelectorAll('tbody tr').length == 1`)
	do(t, ctx, chromedp.Navigate(home+"#/run/young"))
	until(t, ctx, `document.body.innerText.includes('Nothing is recorded yet') && document.querySelector('h2').innerText == 'What ran'`)
	shot(t, ctx, "young")
	appendTo(t, young, 0, 20)
	until(t, ctx, `document.querySelectorAll('.uplot').length == 2 && !document.body.innerText.includes('Nothing is recorded yet')`)
	if err := young.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(young.Dir); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Navigate(home))
	until(t, ctx, `document.body.innerText.includes('There are no runs here yet')`)

	// One, which appears by itself, and grows while it is looked at.
	r := writeRun(t, filepath.Join(root, "digits", "tanh"), 2000)
	until(t, ctx, `document.querySelectorAll('tbody tr').length == 1`)
	until(t, ctx, `document.querySelector('tbody').innerText.includes('1,990')`)
	do(t, ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	until(t, ctx, `document.querySelector('table').scrollWidth <= 390 && document.querySelector('tbody').innerText.includes(' ± ') && document.querySelector('tbody').innerText.includes('running, step 1,990')`)
	shot(t, ctx, "runs-phone")
	do(t, ctx, chromedp.EmulateViewport(1200, 900))
	do(t, ctx, chromedp.Navigate(home+"#/run/digits%2Ftanh"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2 && document.querySelector('canvas[tabindex]') && document.body.innerText.includes('step 1,990')`)
	appendTo(t, r, 2000, 3000)
	until(t, ctx, `document.body.innerText.includes('step 2,990')`)
	until(t, ctx, `document.querySelector('canvas[tabindex]').getAttribute('aria-label').includes('to step 2990') || document.querySelector('canvas[tabindex]').getAttribute('aria-label').includes('to 2990')`)
	shot(t, ctx, "run")

	// A finding leads to its place.
	do(t, ctx, chromedp.Click(".findings a"))
	until(t, ctx, `location.hash.includes('from=')`)
	until(t, ctx, `document.body.innerText.includes('showing')`)
	link := js[string](t, ctx, "location.href")

	// The map is read by keyboard, and speaks.
	until(t, ctx, `document.querySelector('canvas[tabindex]')?.getAttribute('aria-label').includes('from step 8')`) // the closer look is there
	for spoken, deadline := false, time.Now().Add(time.Minute); !spoken; {
		if time.Now().After(deadline) {
			t.Fatal("the map does not speak")
		}
		js[bool](t, ctx, `document.querySelector('canvas[tabindex]')?.focus() || true`)
		do(t, ctx, chromedp.KeyEvent(kb.ArrowRight+kb.ArrowDown)) // right, and down
		time.Sleep(100 * time.Millisecond)
		spoken = js[bool](t, ctx, `document.querySelector('[aria-live]')?.innerText.includes('blocks.') ?? false`)
	}

	// The address is the whole state.
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(link))
	until(t, ctx, `document.body.innerText.includes('showing')`)

	// Dark, and on a phone, where nothing sticks out.
	call(t, ctx, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#/run/digits%2Ftanh"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2 && `+dark)
	if paper := js[string](t, ctx, `getComputedStyle(document.body).backgroundColor`); paper != "rgb(20, 24, 30)" {
		t.Errorf("the dark page is %s", paper)
	}
	shot(t, ctx, "run-dark")
	do(t, ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	until(t, ctx, `document.documentElement.scrollWidth <= 390`)
	shot(t, ctx, "run-phone")
	do(t, ctx, chromedp.EmulateViewport(1200, 900))
	call(t, ctx, emulation.SetEmulatedMediaParams{})

	// The server goes away, and comes back.
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#/run/digits%2Ftanh"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2`)
	stop()
	until(t, ctx, `document.body.innerText.includes('The server does not answer')`)
	appendTo(t, r, 3000, 3500)
	serve(t, root, address, "")
	until(t, ctx, `!document.body.innerText.includes('The server does not answer')`)
	until(t, ctx, `document.body.innerText.includes('step 3,490')`)

	// What is not there is said.
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#/run/nothing"))
	until(t, ctx, `document.querySelector('[role=alert]').innerText.includes('no such run')`)
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#/elsewhere"))
	until(t, ctx, `document.body.innerText.includes('There is no such page')`)
}

func call(t *testing.T, ctx context.Context, media emulation.SetEmulatedMediaParams) {
	t.Helper()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
}

func TestThousandRuns(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	for i := range 1000 {
		r, err := run.Create(filepath.Join(root, fmt.Sprintf("sweep-%d", i%10), fmt.Sprintf("seed-%d", i/10)), map[string]int{"seed": i})
		if err != nil {
			t.Fatal(err)
		}
		for step := int64(10); step <= 50; step += 10 {
			if err := r.Append(run.Record{Time: 1e9 + float64(i), Step: step, Kind: run.KindStep, Values: map[string]float64{"loss": 1 / float64(i+int(step))}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	address, _ := serve(t, root, "127.0.0.1:0", "")
	do(t, ctx, chromedp.Navigate("http://"+address+"/"))
	until(t, ctx, `document.body.innerText.includes('1,000 runs')`)
	paint := js[float64](t, ctx, `performance.now()`)
	t.Logf("the list of 1,000 runs is there %.0f ms after it was asked for", paint)
	shot(t, ctx, "thousand")

	// By keyboard alone: search, go down, choose two, compare.
	do(t, ctx, chromedp.KeyEvent("/"))
	until(t, ctx, `document.activeElement.type == 'search'`)
	js[bool](t, ctx, `document.activeElement.select() || true`) // the slash, which only a test can type
	do(t, ctx, chromedp.KeyEvent("sweep-3 seed-4"))
	until(t, ctx, `document.body.innerText.includes('11 of 1,000 runs')`)
	for i := range 2 {
		js[bool](t, ctx, fmt.Sprintf(`document.querySelectorAll('tbody input')[%d].focus() || true`, i))
		do(t, ctx, chromedp.KeyEvent(" "))
	}
	until(t, ctx, `document.querySelector('button.push').innerText == 'Compare 2'`)
	js[bool](t, ctx, `document.querySelector('button.push').focus() || true`)
	do(t, ctx, chromedp.KeyEvent("\r"))
	until(t, ctx, `document.body.innerText.includes('2 runs compared') && document.querySelectorAll('.uplot').length == 1`)
	until(t, ctx, `document.querySelector('#settings + div').innerText.match(/seed/g).length == 3`) // a setting, and two names
	shot(t, ctx, "compare")

	// One line is told from the other; what was chosen is still so in the list; a run that is gone does not hide the others.
	js[bool](t, ctx, `(document.querySelector('.legend button').focus(), true)`)
	do(t, ctx, chromedp.KeyEvent("\r"))
	until(t, ctx, `document.querySelector('.legend button').ariaPressed == 'true'`)
	compared := js[string](t, ctx, "location.href")
	js[bool](t, ctx, `([...document.querySelectorAll('a')].find((a) => a.innerText == 'All runs').click(), true)`)
	until(t, ctx, `document.querySelector('button.push')?.innerText == 'Compare 2' && location.hash.includes('compare=')`)
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(compared+"/none"))
	until(t, ctx, `document.querySelector('[role=alert]')?.innerText.includes('no such run') && document.querySelectorAll('.uplot').length == 1`)
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate("http://"+address+"/#/compare"))
	until(t, ctx, `document.body.innerText.includes('None is chosen')`)

	// The list is ordered by its heads.
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate("http://"+address+"/"))
	until(t, ctx, `document.querySelector('tbody tr')`)
	js[bool](t, ctx, `([...document.querySelectorAll('th button')].find((b) => b.innerText.startsWith('energy')).click(), true)`)
	until(t, ctx, `document.querySelector('[aria-sort=ascending]').innerText.startsWith('energy') && document.querySelector('tbody a').innerText == 'sweep-9/seed-99' && location.hash.includes('order=energy')`)
	// A second time turns it round, and the address keeps that.
	js[bool](t, ctx, `([...document.querySelectorAll('th button')].find((b) => b.innerText.startsWith('energy')).click(), true)`)
	turned := `document.querySelector('[aria-sort=descending]')?.innerText.startsWith('energy') && document.querySelector('tbody a').innerText == 'sweep-0/seed-0' && location.hash.includes('order=-energy')`
	until(t, ctx, turned)
	turnedPage := js[string](t, ctx, "location.href")
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(turnedPage))
	until(t, ctx, turned)
	js[bool](t, ctx, `([...document.querySelectorAll('th button')].find((b) => b.innerText.startsWith('energy')).click(), true)`)
	until(t, ctx, `document.querySelector('[aria-sort=ascending]') && document.querySelector('tbody a').innerText == 'sweep-9/seed-99'`)
	do(t, ctx, chromedp.Navigate("http://"+address+"/#/run/sweep-3%2Fseed-4"))
	until(t, ctx, `document.querySelector('h1').innerText == 'sweep-3/seed-4' && document.querySelectorAll('.uplot').length >= 1`)
}

// TestFindings follows the findings of the monitor to the pictures that show them,
// and there by their address alone.
func TestFindings(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	r, err := run.Create(filepath.Join(root, "ill"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for step := range int64(1200) {
		loss := 0.5 + 0.01*math.Sin(float64(step))
		if step >= 1195 {
			loss = math.Inf(1)
		}
		records := []run.Record{{Step: step, Time: 1e9 + float64(step), Kind: run.KindStep, Values: map[string]float64{"loss": loss}}}
		for i, layer := range []string{"a", "b", "c"} {
			records = append(records, run.Record{Step: step, Time: 1e9 + float64(step), Kind: run.KindLayer, Layer: layer, Values: map[string]float64{
				"parameters": 100, "virial": -1, "energy_in": math.Pow(0.01, float64(i)), "energy_out": math.Pow(0.01, float64(i)) / 2, "dead": 0.4 * float64(i), "saturated": 0,
				"centred_update": -float64(i) - 0.01*math.Sin(float64(step)), "spread_norm2": 1}})
		}
		if step == 100 {
			records = append(records, run.Record{Step: step, Kind: "finding", Layer: "b", Text: "noticed by the writer"}, run.Record{Step: step, Kind: "finding", Text: "noticed of the whole"})
		}
		for _, record := range records {
			if err := r.Append(record); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	address, _ := serve(t, root, "127.0.0.1:0", "")
	do(t, ctx, chromedp.Navigate("http://"+address+"/"))
	until(t, ctx, `[...document.querySelectorAll('tbody abbr')].map((a) => a.innerText).join() == 'diverged,passing'`)
	page := "http://" + address + "/#/run/ill"
	do(t, ctx, chromedp.Navigate(page))
	until(t, ctx, `document.querySelector('.figures').innerText.includes('not finite\n') && document.querySelector('#curve-loss .plot')?.ariaLabel.includes('; not finite from ')`)
	file := filepath.Join(t.TempDir(), "ill.html")
	if err := WriteReport(t.Context(), filepath.Join(root, "ill"), file, ""); err != nil {
		t.Fatal(err)
	}
	const window = "from=434 to=1199 steps=944-1199" // the records it is of, and twice as many before them
	for _, c := range []struct{ finding, state, shows string }{
		{"the run has diverged", "at=curve-loss " + window, `document.querySelector('#curve-loss.pointed .plot').ariaLabel.includes('finding from 944 to 1199')`},
		{"layer c: 80 % of its units are dead", "at=map map=dead layer=c " + window, `document.querySelector('#map.pointed .mark.wide') && document.querySelector('#map figcaption').innerText.includes('Dead units') && document.querySelector('#map .outline') && document.querySelector('#map .picked').innerText == 'c'`},
		{"layer c: it is too hot", "at=map map=overshoot layer=c " + window, `document.querySelector('#map.pointed .outline') && document.querySelector('#map figcaption').innerText.includes('Overshoot')`},
		{"signal energy vanishes", "at=engine", `document.querySelector('#engine.pointed canvas')`},
		{"noticed by the writer", "at=map layer=b steps=100-100", `document.querySelector('#map.pointed .outline') && document.querySelector('#map .picked').innerText == 'b'`},
		{"noticed of the whole", "at=curve-loss steps=100-100", `document.querySelector('#curve-loss.pointed .plot').ariaLabel.includes('finding from 100 to 100')`},
	} {
		inSight := fmt.Sprintf(`(%s) && document.querySelector('.pointed').contains(document.activeElement) && (() => { const b = document.querySelector('.pointed').getBoundingClientRect(); return b.top < innerHeight - 100 && b.bottom > 100 })()`, c.shows)
		for _, home := range []string{page, "file://" + file} {
			do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home))
			link := fmt.Sprintf(`[...document.querySelectorAll('.finding, .findings li')].filter((f) => f.innerText.includes(%q))[0]?.querySelector('a')`, c.finding)
			until(t, ctx, link)
			js[bool](t, ctx, fmt.Sprintf("(%s.focus(), true)", link))
			do(t, ctx, chromedp.KeyEvent("\r")) // by keyboard
			until(t, ctx, inSight)
			for want := range strings.FieldsSeq(c.state) {
				until(t, ctx, fmt.Sprintf(`location.hash.includes(%q)`, want))
			}
			if home == page {
				shot(t, ctx, "finding-"+strings.ReplaceAll(c.finding, " ", "-"))
			}
			// The address alone leads there too.
			href := js[string](t, ctx, "location.href")
			do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(href))
			until(t, ctx, inSight)
			// Once more, after the reader has gone elsewhere; and away from it.
			js[bool](t, ctx, `(scrollTo(0, 0), document.activeElement.blur(), true)`)
			js[bool](t, ctx, fmt.Sprintf("(%s.click(), true)", link))
			until(t, ctx, inSight)
			do(t, ctx, chromedp.KeyEvent(kb.Escape))
			until(t, ctx, `!document.querySelector('.pointed, .outline') && !location.hash.includes('at=')`)
		}
	}
}

// TestExports saves what the pages of a run and of a comparison show, and compares
// it with what the server says.
func TestExports(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	writeRun(t, filepath.Join(root, "a"), 2000)
	writeRun(t, filepath.Join(root, "b"), 600)
	address, _ := serve(t, root, "127.0.0.1:0", "")
	home := "http://" + address + "/"
	// save presses every PNG and CSV button, and returns what is saved, by its name.
	save := func(page string, figures int) map[string][]byte {
		t.Helper()
		do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+page))
		until(t, ctx, fmt.Sprintf(`document.querySelectorAll('figure').length == %d`, figures))
		js[bool](t, ctx, `(window.saved = [], HTMLAnchorElement.prototype.click = function () { saved.push([this.download, this.href]) }, true)`)
		js[bool](t, ctx, `([...document.querySelectorAll('figure .tools button, figure + .tools button')].forEach((b) => b.click()), true)`)
		files := map[string][]byte{}
		for _, s := range js[[][2]string](t, ctx, `saved`) {
			kind, data, _ := strings.Cut(s[1], ",")
			var content []byte
			var err error
			if strings.HasSuffix(kind, ";base64") {
				content, err = base64.StdEncoding.DecodeString(data)
			} else {
				var text string
				text, err = url.PathUnescape(data)
				content = []byte(text)
			}
			if err != nil {
				t.Fatal(err)
			}
			files[s[0]] = content
			if strings.HasSuffix(s[0], ".png") { // of the size of its figure, and not blank
				picture, err := png.Decode(bytes.NewReader(content))
				if err != nil {
					t.Fatalf("%s: %v", s[0], err)
				}
				colours := map[color.Color]bool{}
				for y := range picture.Bounds().Dy() {
					colours[picture.At(picture.Bounds().Dx()/2, y)] = true
				}
				if b := picture.Bounds(); b.Dx() < 800 || b.Dy() < 150 || len(colours) < 3 {
					t.Errorf("%s: %v, %d colours", s[0], b, len(colours))
				}
			}
		}
		return files
	}
	rows := func(text []byte) [][]string {
		t.Helper()
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		if err != nil || len(rows) < 2 {
			t.Fatalf("%v: %.200s", err, text)
		}
		return rows
	}
	of := func(id, name string) curve {
		t.Helper()
		return told[seriesDocument](t, home+"api/series?run="+id+"&name="+name).Curve
	}
	is := func(cell string, want float64) bool {
		x, err := strconv.ParseFloat(cell, 64)
		return err == nil && x == want
	}

	files := save("#/run/a", 4)
	for _, name := range []string{"temperature-of-every-layer-along-the-run", "energy", "temperature", "signal-energy-into-and-out-of-every-activation"} {
		if files[name+".png"] == nil {
			t.Errorf("of the run no %s.png is saved", name)
		}
	}
	// The map: a row for each layer, a column for each stretch of steps.
	table := rows(files["temperature-of-every-layer-along-the-run.csv"])
	layers := told[layersDocument](t, home+"api/layers?run=a&name=temperature")
	if table[0][0] != "layer, temperature (energy/nat)" || len(table) != 1+len(layers.Layers) {
		t.Errorf("the map has %d rows, headed %q", len(table), table[0][0])
	}
	for i, layer := range layers.Layers {
		c := layers.Curves[i]
		for j, head := range table[0][1:] {
			var step int64
			if _, err := fmt.Sscanf(head, "step %d", &step); err != nil {
				t.Fatalf("column %q: %v", head, err)
			}
			near := false // steps of a column are rounded
			for k := range c.First {
				near = near || step >= c.First[k]-10 && (k+1 == len(c.First) || step <= c.First[k+1]+10) && is(table[1+i][1+j], *c.Mean[k])
			}
			if table[1+i][0] != layer || !near {
				t.Fatalf("%s at step %d is saved as %s of %s, which the server never says", layer, step, table[1+i][1+j], table[1+i][0])
			}
		}
	}
	// A curve: every value that was recorded.
	for name, head := range map[string]string{"loss": "energy (loss)", "temperature": "temperature (energy/nat)"} {
		link := js[string](t, ctx, fmt.Sprintf(`document.querySelector('#curve-%s a.button').href`, name))
		status, text := ask(t, "GET", link, "")
		table, c := rows([]byte(text)), of("a", name+"&columns=4000")
		if status != 200 || table[0][0] != "step (count)" || table[0][1] != head || len(table) != 201 {
			t.Errorf("the CSV of %s: status %d, %d rows, headed %q", name, status, len(table), table[0])
		}
		var sum float64 // of the values in the first interval
		for _, row := range table[1 : 1+c.Points[0]] {
			x, err := strconv.ParseFloat(row[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += x
		}
		if mean := sum / float64(c.Points[0]); math.Abs(mean-*c.Mean[0]) > 1e-12 {
			t.Errorf("the first values of %s have the mean %v, the server says %v", name, mean, *c.Mean[0])
		}
	}

	files = save("#/compare/a/b", 2)
	if !js[bool](t, ctx, `document.body.innerText.includes('constant in every run: learning rate')`) {
		t.Error("that the learning rate is constant is not said")
	}
	for name, quantity := range map[string]string{"energy": "loss", "temperature": "temperature"} {
		if files[name+".png"] == nil {
			t.Errorf("of the comparison no %s.png is saved", name)
		}
		table := rows(files[name+".csv"])
		if !slices.Equal(table[0], []string{"name", "step (count)", title(quantity), "two standard errors (" + map[string]string{"loss": "loss", "temperature": "energy/nat"}[quantity] + ")"}) {
			t.Errorf("%s.csv is headed %q", name, table[0])
		}
		table = table[1:]
		for _, id := range []string{"a", "b"} {
			c := of(id, quantity)
			for k := range c.First {
				row := table[0]
				table = table[1:]
				if row[0] != id || !is(row[1], float64(c.First[k]+c.Last[k])/2) || !is(row[2], *c.Mean[k]) {
					t.Fatalf("%s.csv: %q where the server says %s, %d to %d, %v", name, row, id, c.First[k], c.Last[k], *c.Mean[k])
				}
				if half, err := strconv.ParseFloat(row[3], 64); c.StdErr[k] != nil && (err != nil || math.Abs(half-2**c.StdErr[k]) > 1e-12) {
					t.Fatalf("%s.csv: two standard errors are %s, the server says 2 × %v", name, row[3], *c.StdErr[k])
				}
			}
		}
		if len(table) > 0 {
			t.Errorf("%s.csv has %d rows too many", name, len(table))
		}
	}
}

// TestRich looks at transitions, spectra and energy, on the page and in its report.
func TestRich(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	writeRich(t, filepath.Join(root, "rich"))
	address, _ := serve(t, root, "127.0.0.1:0", "")
	page := "http://" + address + "/#/run/rich"
	do(t, ctx, chromedp.Navigate(page))
	until(t, ctx, `document.querySelectorAll('.transitions > li').length == 1`)
	until(t, ctx, `document.querySelector('.plot[role=img]').getAttribute('aria-label').includes('transition 1')`)
	until(t, ctx, `document.querySelector('.mark.wide')`)
	until(t, ctx, `document.querySelector('.transitions').innerText.includes('learning rate 0.4 → 0.02 at step 1500')`)
	until(t, ctx, `document.querySelector('.figures').innerText.includes('price of the loss removed') && document.body.innerText.includes('Energy taken so far')`)
	js[bool](t, ctx, `(document.querySelector('#spectra').scrollIntoView(), true)`)
	until(t, ctx, `document.querySelector('#spectra + div .uplot') && document.querySelector('#spectra + div table').innerText.includes('60×40')`)
	shot(t, ctx, "rich")

	// A transition leads to its place, a checkpoint to its weights, and the address says so.
	js[bool](t, ctx, `(document.querySelector('.transitions a').click(), true)`)
	until(t, ctx, `location.hash.includes('from=') && document.body.innerText.includes('showing')`)
	js[bool](t, ctx, `(() => { const s = document.querySelector('#spectra + div select'); s.value = s.options[0].value; s.dispatchEvent(new Event('change', {bubbles: true})); return true })()`)
	until(t, ctx, `location.hash.includes('checkpoint=1000') && document.querySelector('#spectra + div').innerText.includes('checkpoint of step 1000')`)
	link := js[string](t, ctx, "location.href")
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(link))
	until(t, ctx, `document.body.innerText.includes('showing') && document.querySelectorAll('.uplot').length >= 3 && document.querySelector('.pointed').contains(document.activeElement)`)
	js[bool](t, ctx, `(document.querySelector('#spectra').scrollIntoView(), true)`)
	until(t, ctx, `document.querySelector('#spectra + div').innerText.includes('checkpoint of step 1000')`)

	// Checkpoints are gone through by keyboard.
	js[bool](t, ctx, `(document.querySelector('[aria-label="Later checkpoint"]').focus(), true)`)
	do(t, ctx, chromedp.KeyEvent("\r"))
	until(t, ctx, `location.hash.includes('checkpoint=2990') && document.querySelector('#spectra + div').innerText.includes('checkpoint of step 2990')`)
	js[bool](t, ctx, `(document.querySelector('[aria-label="Earlier checkpoint"]').focus(), true)`)
	do(t, ctx, chromedp.KeyEvent("\r"))
	until(t, ctx, `location.hash.includes('checkpoint=1000') && document.querySelector('#spectra + div').innerText.includes('checkpoint of step 1000')`)

	// The spectra of all checkpoints are a curve.
	js[bool](t, ctx, `(() => { const s = [...document.querySelectorAll('#spectra + div select')].at(-1); s.value = 'stable_rank'; s.dispatchEvent(new Event('change', {bubbles: true})); return true })()`)
	until(t, ctx, `location.hash.includes('along=stable_rank') && [...document.querySelectorAll('#spectra + div figure')].some((f) => f.innerText.includes('Stable rank of every matrix along the run') && f.querySelector('.uplot'))`)
	shot(t, ctx, "spectra")

	// A curve is read by keyboard, aloud; Escape shows all steps again.
	js[bool](t, ctx, `(document.querySelector('.plot[role=img]').focus(), true)`)
	do(t, ctx, chromedp.KeyEvent(kb.ArrowRight+kb.ArrowRight))
	until(t, ctx, `[...document.querySelectorAll('figure [aria-live]')].some((e) => /^step [\d,]+: /.test(e.innerText))`)
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	until(t, ctx, `!document.body.innerText.includes('showing') && !location.hash.includes('from=')`)

	// Plus looks closer, minus goes back.
	do(t, ctx, chromedp.KeyEvent("+"))
	until(t, ctx, `document.body.innerText.includes('showing') && location.hash.includes('from=')`)
	for js[bool](t, ctx, `document.body.innerText.includes('showing')`) { // from what is drawn, which comes a little later
		do(t, ctx, chromedp.KeyEvent("-"))
		time.Sleep(100 * time.Millisecond)
	}
	until(t, ctx, `!location.hash.includes('from=')`)

	// As many curves as one likes.
	also := `[...document.querySelectorAll('label')].find((l) => l.innerText.startsWith('Also draw')).querySelector('select')`
	for _, name := range []string{"learning_rate", "energy_in"} {
		js[bool](t, ctx, `(() => { const s = `+also+`; s.value = '`+name+`'; s.dispatchEvent(new Event('change', {bubbles: true})); return true })()`)
		until(t, ctx, `!!document.querySelector('#curve-`+name+` .uplot') && `+also+`.value === ''`)
	}
	until(t, ctx, `location.hash.includes('plot=learning_rate%2Cenergy_in') || location.hash.includes('plot=learning_rate,energy_in')`)
	js[bool](t, ctx, `([...document.querySelectorAll('button[title="Take this curve away"]')][0].click(), true)`)
	until(t, ctx, `!document.querySelector('#curve-learning_rate') && !!document.querySelector('#curve-energy_in')`)

	// The same in one file.
	file := filepath.Join(t.TempDir(), "rich.html")
	if err := WriteReport(t.Context(), filepath.Join(root, "rich"), file, "kelvin report rich --html rich.html"); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Navigate("file://"+file))
	until(t, ctx, `document.querySelectorAll('.transitions > li').length == 1 && document.querySelectorAll('.uplot').length >= 4 && document.body.innerText.includes('price of the loss removed')`)
	js[bool](t, ctx, `(document.querySelector('#spectra').scrollIntoView(), true)`)
	until(t, ctx, `document.querySelector('#spectra + div .uplot')`)
}

// TestReport looks at a page of package report with every kind of chart, and with
// what can go wrong in them.
func TestReport(t *testing.T) {
	ctx := browser(t)
	const hostile = `</script><script>document.title = 'taken'</script>&'`
	nan := math.NaN()
	reading := func(group string, x float64) thermo.Reading {
		return thermo.Reading{Group: group, Value: x, StdErr: math.Abs(x) / 10}
	}
	page := report.Page{
		Title: hostile, Lead: "A page of all charts.", Figures: []report.Figure{{Label: "temperature", Value: "−1 ± 2", Unit: "energy/nat"}},
		Findings: []thermo.Finding{{Severity: thermo.Warning, Group: "1", What: "it is cold", Evidence: "T = -1", Change: "heat it"}, {Severity: thermo.Info, What: hostile}},
		Sections: []report.Section{
			{ID: "charts", Title: "Charts", Charts: []report.Chart{
				report.BarChart{Caption: "Bars.", Axis: "temperature (energy/nat)", Readings: []thermo.Reading{reading("layer 0", 2e-5), reading("layer 1", -1e-5), reading(hostile, nan)}},
				report.BarChart{Caption: "Dots.", Axis: "temperature (energy/nat)", Dots: true, Readings: []thermo.Reading{reading("0", 2), reading("1", 1)}},
				report.LineChart{Caption: "Lines.", X: "step (count)", Y: "energy (nat)", LogY: true, Marks: []report.Mark{{Name: "1", From: 1, To: 2}},
					Lines: []report.Line{{Name: "a", X: []float64{0, 1, 2, 3}, Y: []float64{1, nan, 0.1, 0}, Band: []float64{0.1, 0.1, 0.2, 0}}, {Name: hostile, X: []float64{3, 0}, Y: []float64{1, 2}, Hotness: 1}}},
				report.ScatterChart{Caption: "Scatter.", X: "rank (1)", Y: "heat (energy)", Diagonal: true, Dots: []report.Dot{{Name: "one", X: 1, Y: 2, ErrX: 0.1, ErrY: 0.2}, {X: nan}}},
				report.Reliability("Reliability.", []report.CalibrationBin{{Confidence: 0.9, Accuracy: 0.8, Count: 10}}),
				report.HeatMap{Caption: "Heat.", X: "step (count)", X1: 100, Unit: "temperature (energy/nat)", Rows: []string{"0", "1"}, Values: [][]float64{{1, 2, nan}, {3, 4, 5}}},
				report.FlowChart{Caption: "Flow.", Unit: "signal energy (signal²)", Stages: []report.Stage{{Name: "0", In: 1, Out: 0.5, Note: "η 0.5"}, {Name: "1", In: 0.5, Out: 0.6}}},
				report.GanttChart{Caption: "Gantt.", X: "time (s)", Rows: []string{"stage 0"}, Bars: []report.GanttBar{{End: 2, Label: "F0", Title: "forward 0", Hotness: 1}}},
				report.FloorMap{Caption: "Floor.", Unit: "temperature (K)", Width: 2, Height: 1, Areas: []report.Area{{X: 0, Width: 1, Height: 1, Value: 330}, {X: 1, Width: 1, Height: 1, Value: 340}, {Name: "ALU", Width: 2, Height: 1, Value: nan}}},
			}},
			{Title: "Nothing", Charts: []report.Chart{report.BarChart{}, report.LineChart{}, report.ScatterChart{}, report.HeatMap{}, report.FlowChart{}, report.GanttChart{}, report.FloorMap{}}},
			{ID: "layers", Title: "Layers", Table: &report.Table{Columns: []string{"layer", "T"}, Rows: [][]string{{"0", "1"}, {"1", "-1"}}, Heat: []float64{1, 0}}},
		},
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := page.WriteFile(file); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Navigate("file://"+file))
	until(t, ctx, `document.querySelectorAll('figure').length == 16 && document.querySelectorAll('figure canvas').length >= 15`)
	if title := js[string](t, ctx, `document.title`); !strings.HasPrefix(title, "</script>") {
		t.Errorf("the title is %q", title)
	}
	shot(t, ctx, "charts")

	// A finding leads to its layer in the pictures and the table.
	js[bool](t, ctx, `(document.querySelector('.finding a').click(), true)`)
	until(t, ctx, `location.hash == '#charts?group=1' && document.querySelector('#charts.pointed .outline') && document.querySelector('tr.picked')?.innerText.includes('−1')`)

	// Every picture is saved as PNG and CSV, is a table, and speaks.
	js[bool](t, ctx, `(window.saved = [], HTMLAnchorElement.prototype.click = function () { saved.push(this.download + ' ' + this.href.slice(0, 40) + ' ' + decodeURIComponent(this.href.includes('csv') ? this.href : '')) }, true)`)
	js[bool](t, ctx, `([...document.querySelectorAll('#charts figure .tools button')].forEach((b) => b.click()), true)`)
	saved := js[[]string](t, ctx, `saved`)
	if len(saved) != 18 {
		t.Errorf("saved %d files: %q", len(saved), saved)
	}
	all := strings.Join(saved, "\n")
	for _, want := range []string{"bars.png data:image/png;base64,", "bars.csv", "layer 1,-0.00001,", "heat.png data:image/png;base64,", "1,3,4,5", "lines.csv", "forward 0,0,2"} {
		if !strings.Contains(all, want) {
			t.Errorf("saved nothing with %q: %s", want, all)
		}
	}
	js[bool](t, ctx, `([...document.querySelectorAll('#charts figure label')].filter((l) => l.innerText.includes('table')).forEach((l) => l.click()), true)`)
	until(t, ctx, `document.querySelectorAll('#charts figure table').length == 9`)
	js[bool](t, ctx, `(document.querySelector('#charts figure canvas').focus(), true)`)
	do(t, ctx, chromedp.KeyEvent(kb.ArrowDown+kb.ArrowDown))
	until(t, ctx, `document.querySelector('#charts figure [aria-live]').innerText.includes('layer 1: (−1.00 ± 0.10)×10⁻⁵')`)

	// On a phone nothing sticks out; on paper it is light.
	do(t, ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	until(t, ctx, `document.documentElement.scrollWidth <= 390`)
	call(t, ctx, emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	until(t, ctx, `getComputedStyle(document.documentElement).getPropertyValue('--ink').trim() == '#1c2430'`)
}

func TestAccessibility(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	writeRich(t, filepath.Join(root, "a"))
	writeRun(t, filepath.Join(root, "b"), 2000)
	address, _ := serve(t, root, "127.0.0.1:0", "")
	for _, page := range []string{"#/", "#/run/a", "#/run/b", "#/compare/a/b"} {
		do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate("http://"+address+"/"+page))
		until(t, ctx, `document.querySelector('tbody tr') && (location.hash == '#/' || document.querySelectorAll('.uplot').length >= 2)`)
		if page == "#/run/a" {
			js[bool](t, ctx, `(document.querySelector('#spectra').scrollIntoView(), true)`)
			until(t, ctx, `document.querySelector('#spectra + div .uplot') && document.querySelector('.transitions')`)
		}
		// Everything that can be used is reached by Tab, and seen when it is.
		if hidden := js[int](t, ctx, `[...document.querySelectorAll('a[href], button, input, select, canvas[role=img], .plot')].filter((e) => e.tabIndex < 0 && !e.closest('.plot')).length`); hidden > 0 {
			t.Errorf("%s: %d things cannot be reached by Tab", page, hidden)
		}
		tree, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			t.Fatal(err)
		}
		headings := 0
		for _, n := range tree.Nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			role := strings.Trim(string(n.Role.Value), `"`)
			name := ""
			if n.Name != nil {
				name = strings.Trim(string(n.Name.Value), `"`)
			}
			switch role {
			case "heading":
				headings++
			case "button", "link", "checkbox", "combobox", "searchbox", "image", "img", "textbox":
				if name == "" {
					t.Errorf("%s: a %s has no name", page, role)
				}
			}
		}
		if headings == 0 {
			t.Errorf("%s has no heading", page)
		}
	}
}

// TestUnread asks for what the server does not send, and looks whether what is
// shown keeps its own name.
func TestUnread(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	writeRun(t, filepath.Join(root, "a"), 2000)
	writeRun(t, filepath.Join(root, "b"), 600)
	address, stop := serve(t, root, "127.0.0.1:0", "")
	do(t, ctx, chromedp.Navigate("http://"+address+"/#/run/a"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2 && document.querySelector('#map canvas')`)
	stop()
	until(t, ctx, `document.body.innerText.includes('The server does not answer')`)
	chosen := `[...document.querySelectorAll('label')].find((l) => l.innerText.startsWith('Show')).querySelector('select')`
	choose := `(() => { const s = ` + chosen + `; s.value = 'dead'; s.dispatchEvent(new Event('change', {bubbles: true})); return true })()`
	js[bool](t, ctx, choose)
	until(t, ctx, `document.body.innerText.includes('The map still shows temperature: dead units is not read yet')`)
	for _, name := range []string{`#map figcaption b').innerText`, `#map canvas').ariaLabel`, `#map .key').innerText`, `#map [aria-label^=PNG]').ariaLabel`, `#map [aria-label^=CSV]').ariaLabel`} {
		if text := js[string](t, ctx, `document.querySelector('`+name); strings.Contains(strings.ToLower(text), "dead") || !strings.Contains(strings.ToLower(text), "temperature") && !strings.Contains(text, "energy/nat") {
			t.Errorf("%s of temperatures is %q", name, text)
		}
	}
	if banners := js[int](t, ctx, `document.querySelectorAll('.banner').length`); banners != 1 {
		t.Errorf("%d banners say that the server is gone", banners)
	}
	// Nor do curves of all steps wear the stretch that was asked for.
	js[bool](t, ctx, `(document.querySelector('#curve-loss .plot').focus(), true)`)
	do(t, ctx, chromedp.KeyEvent("+"))
	until(t, ctx, `location.hash.includes('from=') && document.body.innerText.includes('Reading what was asked for')`)
	until(t, ctx, `document.body.innerText.includes('showing 0 to 1,990') && document.querySelector('#map canvas').ariaLabel.includes('from step 0 to 1990')`)

	serve(t, root, address, "")
	until(t, ctx, `document.querySelector('#map figcaption b').innerText == 'Dead units of every layer along the run' && document.querySelector('#map canvas').ariaLabel.includes('dead units (1)') && !document.querySelector('#map canvas').ariaLabel.includes('from step 0 ')`)
	until(t, ctx, `!document.querySelector('.late') && !document.querySelector('.banner')`)
}

// TestNewToken starts the server anew with another token beneath an open page.
func TestNewToken(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	r := writeRun(t, filepath.Join(root, "a"), 2000)
	address, stop := serve(t, root, "127.0.0.1:0", "the-first-of-two-tokens")
	do(t, ctx, chromedp.Navigate("http://"+address+"/?token=the-first-of-two-tokens"))
	until(t, ctx, `document.querySelector('tbody tr')`)
	do(t, ctx, chromedp.Navigate("http://"+address+"/#/run/a"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2 && document.querySelector('#map canvas')`)
	js[bool](t, ctx, `(window.same = true)`)
	stop()
	serve(t, root, address, "the-other-of-two-tokens")
	until(t, ctx, `document.querySelector('.banner')?.innerText.includes('wants its token')`)
	time.Sleep(4 * time.Second) // it asked again
	if !js[bool](t, ctx, `window.same && document.querySelectorAll('.uplot').length >= 2 && !!document.querySelector('#map canvas') && document.querySelectorAll('.banner').length == 1 && document.querySelector('.banner').innerText.includes('wants its token')`) {
		t.Errorf("the page is %s", js[string](t, ctx, "document.body.innerText"))
	}
	shot(t, ctx, "token")
	// What another tab brings, this one has.
	appendTo(t, r, 2000, 2500)
	js[bool](t, ctx, `(fetch("/?token=the-other-of-two-tokens"), true)`)
	until(t, ctx, `!document.querySelector('.banner') && document.body.innerText.includes('step 2,490') && window.same`)
}

// TestAddresses opens addresses that say what cannot be.
func TestAddresses(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	writeRun(t, filepath.Join(root, "deep", "a"), 2000)
	writeRun(t, filepath.Join(root, "b"), 600)
	address, _ := serve(t, root, "127.0.0.1:0", "")
	home := "http://" + address + "/"
	const (
		run     = `document.querySelectorAll('.uplot').length >= 2 && document.querySelector('#map canvas')`
		compare = `document.querySelectorAll('.uplot').length >= 2 && document.body.innerText.includes('2 runs compared') && !document.querySelector('tbody').innerText.includes('…')`
		all     = ` && document.querySelector('.banner')?.innerText.endsWith('These are all steps.') && !location.hash.includes('from=') && !document.body.innerText.includes('validation failed')`
	)
	for _, c := range []struct{ hash, shows string }{
		{"#/run/100%", `document.body.innerText.includes('There is no such page') && [...document.querySelectorAll('main a')].some((a) => a.innerText == 'All runs')`},
		{"#/run/", `document.body.innerText.includes('There is no such page')`},
		{"#/run/b", run + ` && !document.querySelector('.banner')`}, // after those, in the same page
		{"#/run/deep/a", run + ` && document.querySelector('h1').innerText == 'deep/a'`},
		{"#/run/b?from=500&to=100", run + all},
		{"#/run/b?from=1e2&to=300", run + all},
		{"#/run/b?from=100", run + all},
		{"#/run/b?from=5000&to=6000", run + all + ` && document.querySelector('.banner').innerText.includes('steps 5,000 to 6,000; there are 0 to 590')`},
		{"#/run/b?from=99999999999999999999&to=999999999999999999999", run + all},
		{"#/run/b?from=100&to=300&steps=9-1&map=none&plot=none", run + ` && document.body.innerText.includes('showing 100 to 300') && !document.querySelector('.banner') && document.querySelector('.bar select').value == 'temperature'`},
		{"#/compare/deep%2Fa/b?from=abc&to=5", compare + all},
		{"#/compare/deep%2Fa/b?from=50000&to=60000", compare + all},
		{"#/compare/deep%2Fa/b/b?from=1000&to=1500", compare + ` && document.body.innerText.includes('showing 1,000 to 1,500')`},
		{"#/compare/deep%2Fa/b?from=-300&to=-100&align=end", compare + ` && document.body.innerText.includes('showing −300 to −100')`},
		{"#/?compare=%25&order=none", `document.querySelectorAll('tbody tr').length == 2`},
	} {
		do(t, ctx, chromedp.Navigate(home+c.hash))
		until(t, ctx, c.shows)
	}
}

// TestManyLines follows one line of twelve with the pointer: it stands out in all
// pictures, and the page draws no more than it must.
func TestManyLines(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	var ids []string
	for i := range 12 {
		r, err := run.Create(filepath.Join(root, fmt.Sprintf("r%02d", i)), map[string]int{"seed": i})
		if err != nil {
			t.Fatal(err)
		}
		for step := range int64(200) { // of different strides: the nearest point is not of the nearest line
			if err := r.Append(run.Record{Step: step * int64(1+i%3), Time: 1e9, Kind: run.KindStep, Values: map[string]float64{"loss": float64(i) + 0.1*math.Sin(float64(step)), "other": 1 / float64(1+i+int(step))}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, fmt.Sprintf("r%02d", i))
	}
	address, _ := serve(t, root, "127.0.0.1:0", "")
	do(t, ctx, chromedp.Navigate("http://"+address+"/#/compare/"+strings.Join(ids, "/")))
	until(t, ctx, `document.querySelectorAll('.uplot').length == 2 && document.querySelectorAll('.legend').length == 2`)
	if n := js[int](t, ctx, `new Set([...document.querySelectorAll('.legend')[0].querySelectorAll('line')].slice(0, 4).map((l) => l.getAttribute('stroke-dasharray'))).size`); n != 4 {
		t.Errorf("four lines that follow each other are dashed in %d ways", n)
	}
	js[bool](t, ctx, `(window.drawn = 0, (() => { const clear = CanvasRenderingContext2D.prototype.clearRect; CanvasRenderingContext2D.prototype.clearRect = function (...a) { drawn++; clear.apply(this, a) } })(), document.querySelector('.plot').scrollIntoView({block: 'center'}), true)`)
	before := js[string](t, ctx, `document.querySelectorAll('.plot canvas')[1].toDataURL()`)
	over := js[[4]float64](t, ctx, `(() => { const b = document.querySelector('.u-over').getBoundingClientRect(); return [b.left, b.top, b.width, b.height] })()`)
	// The seventh line is at 6 of the 11 that the axis has, with 4 % of room at both ends.
	high := 11.2 * 1.08
	y := over[1] + over[3]*(1-(6+0.1+0.04*11.2)/high)
	do(t, ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, over[0]+over[2]/4, y-2), chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, over[0]+over[2]/4, y))
	until(t, ctx, `[...document.querySelectorAll('.legend .front')].map((b) => b.innerText).join() == 'r06,r06'`)
	time.Sleep(time.Second)
	if n := js[int](t, ctx, `drawn`); n == 0 || n > 20 {
		t.Errorf("for one move of the pointer two pictures are drawn %d times", n)
	}
	if js[string](t, ctx, `document.querySelectorAll('.plot canvas')[1].toDataURL()`) == before {
		t.Error("the line does not stand out in the other picture")
	}
	do(t, ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 5, 5))
	until(t, ctx, `!document.querySelector('.legend .front')`)
	// By keyboard: the name of a line.
	js[bool](t, ctx, `(document.querySelectorAll('.legend button')[3].focus(), true)`)
	until(t, ctx, `[...document.querySelectorAll('.legend .front')].map((b) => b.innerText).join() == 'r03,r03'`)
}

// TestPassing looks at a map of temperatures below zero, of more layers than a
// table shows at once.
func TestPassing(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	r, err := run.Create(filepath.Join(root, "a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for step := range int64(300) {
		records := []run.Record{{Step: step, Time: 1e9, Kind: run.KindStep, Values: map[string]float64{"loss": 1}}}
		for layer := range 60 {
			heat := -1e-4 * (1 + float64(layer)) // and one layer above zero
			if layer == 59 {
				heat = 3e-3
			}
			records = append(records, run.Record{Step: step, Time: 1e9, Kind: run.KindLayer, Layer: fmt.Sprintf("l%02d", layer), Values: map[string]float64{"parameters": 100, "centred_virial": 100 * heat, "energy_in": 1, "energy_out": 0.5}})
		}
		if err := r.Append(records...); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	address, _ := serve(t, root, "127.0.0.1:0", "")
	do(t, ctx, chromedp.Navigate("http://"+address+"/#/run/a"))
	until(t, ctx, `document.querySelector('#map canvas') && document.querySelector('#engine table')`)
	until(t, ctx, `document.querySelector('#map .key').innerText.includes('below zero: passing') && document.querySelector('#map .zero').innerText == '0'`)
	// How far from grey the cells of a layer are, at most.
	hue := func(layer int) int {
		return js[int](t, ctx, fmt.Sprintf(`(() => { const c = document.querySelector('#map canvas'), d = c.getContext('2d').getImageData(c.width / 2, (%d + 0.2) * c.height / 60, 40, 1).data; let most = 0; for (let i = 0; i < d.length; i += 4) most = Math.max(most, Math.max(d[i], d[i + 1], d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2])); return most })()`, layer))
	}
	for _, layer := range []int{0, 30, 58} {
		if h := hue(layer); h > 8 {
			t.Errorf("layer %d below zero is coloured: %d of 255 from grey", layer, h)
		}
	}
	if h := hue(59); h < 60 {
		t.Errorf("the layer above zero has no colour: %d of 255 from grey", h)
	}
	shot(t, ctx, "passing")
	// Its table is folded, opens by keyboard, and is whole on paper.
	rows := `document.querySelectorAll('#engine tbody tr').length`
	if n := js[int](t, ctx, rows); n != 20 {
		t.Errorf("%d rows are shown at first", n)
	}
	js[bool](t, ctx, `(dispatchEvent(new Event('beforeprint')), true)`)
	until(t, ctx, rows+` == 60`)
	js[bool](t, ctx, `(dispatchEvent(new Event('afterprint')), true)`)
	until(t, ctx, rows+` == 20`)
	js[bool](t, ctx, `([...document.querySelectorAll('#engine .tools button')].find((b) => b.innerText == 'Show all 60 rows').focus(), true)`)
	do(t, ctx, chromedp.KeyEvent("\r"))
	until(t, ctx, rows+` == 60 && document.activeElement.innerText == 'Show the first 20 rows' && document.activeElement.ariaExpanded == 'true'`)
}
