// Reads one PromQL expression a line and says which Prometheus would refuse.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	wrong := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(lines.Text()); err != nil {
			fmt.Fprintf(os.Stderr, "%s\n  %v\n", lines.Text(), err)
			wrong = 1
		}
	}
	os.Exit(wrong)
}
