package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/report"
)

// addHTMLFlag adds --html. That its file can be written is checked before the
// command runs (newRootCommand).
func addHTMLFlag(cmd *cobra.Command) {
	cmd.Flags().String("html", "", "also write the result as a page, one self-contained HTML `file`")
}

// htmlFile is the file of --html; "" where it is not given or there is no such flag.
func htmlFile(cmd *cobra.Command) string {
	if f := cmd.Flags().Lookup("html"); f != nil {
		return f.Value.String()
	}
	return ""
}

// writePage writes the page of a result to the file of --html, if it is given.
func writePage(cmd *cobra.Command, page func() report.Page) error {
	path := htmlFile(cmd)
	if path == "" {
		return nil
	}
	if err := madeBy(cmd, page()).WriteFile(path); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", path)
	return nil
}

// madeBy adds the seed and the command to the facts of a page.
func madeBy(cmd *cobra.Command, page report.Page) report.Page {
	if seed := cmd.Flags().Lookup("seed"); seed != nil {
		page.Facts = append(page.Facts, report.Fact{Label: "seed", Value: seed.Value.String()})
	}
	page.Facts = append(page.Facts, report.Fact{Label: "command", Value: cmd.Root().Annotations[commandAnnotation]})
	return page
}

// commandLine writes arguments as a shell reads them. Addresses of webhooks are
// secrets, and are left out.
func commandLine(args []string) string {
	words := []string{"kelvin"}
	for i, w := range args {
		switch {
		case w == "--webhook" || strings.HasPrefix(w, "--webhook="):
		case i > 0 && args[i-1] == "--webhook":
		case !plainWord.MatchString(w):
			words = append(words, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		default:
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

// commandAnnotation is where the root command keeps what was typed.
const commandAnnotation = "command"

// plainWord is what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[\pL\pN_@%+=:,./-]+$`)

// upperFirst begins a sentence, whose first letter must be one of a to z.
func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
