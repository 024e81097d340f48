# Mutation testing: small mistakes in the code, and whether a test notices. See mutate.py.
MUTATION_COUNT ?= 400
MUTATION_SEED  ?= 20261129

mutation: san ## make small mistakes in the code and run the tests that could notice; long
	tests/mutation/mutate.py --count $(MUTATION_COUNT) --seed $(MUTATION_SEED) -j $(JOBS) \
	    --json $(BUILD)/mutation/result.json
.PHONY: mutation
