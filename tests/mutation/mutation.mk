# Mutation testing: small mistakes in the code, and whether a test notices. See mutate.py.
# Some do not compile: of so many, more than 400 are judged.
MUTATION_COUNT ?= 530
MUTATION_SEED  ?= 20261129

mutation: san ## make small mistakes in the code and run the tests that could notice; long
	tests/mutation/mutate.py --count $(MUTATION_COUNT) --seed $(MUTATION_SEED) -j $(JOBS) \
	    --resume --json $(BUILD)/mutation/result.json
.PHONY: mutation
