"""The Helm chart: what it renders, what it refuses, and that its rights are those that the operator needs, no fewer and no more."""
