/* An exported policy in C99, without any library but libm. policy.h is what `moore export` wrote.

       cc -O2 -I CONTROLLER -DPOLICY_MAIN policy.c -lm -o policy
       echo "0.1 -0.3 2.0" | ./policy       (one line of actions for each line of observations;
                                             with a rate limit the previous action follows it)

   Without POLICY_MAIN it is the function policy_act for a program of your own. It allocates
   nothing, keeps nothing between calls, and always takes the same number of operations. */

#include <math.h>
#include "policy.h"

static float between(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

/* The action for one observation. previous: the last action; not read without a rate limit.
   Returns 0, or 1 without touching action if an input is not a finite number. */
int policy_act(const float *obs, const float *previous, float *action)
{
    float in[POLICY_WIDEST], out[POLICY_WIDEST], sum[POLICY_ACTION] = {0};
    const float *number = policy_numbers;
    for (int i = 0; i < POLICY_OBS; i++)
        if (!isfinite(obs[i])) return 1;
    for (int i = 0; POLICY_HAS_RATE_LIMIT && i < POLICY_ACTION; i++)
        if (!isfinite(previous[i])) return 1;

    for (int member = 0; member < POLICY_MEMBERS; member++) {
        for (int i = 0; i < POLICY_OBS; i++)
            in[i] = (float)((obs[i] - policy_obs_mean[i]) / policy_obs_std[i]);
        for (int layer = 0; layer < POLICY_LAYERS; layer++) {
            int inputs = policy_widths[layer], outputs = policy_widths[layer + 1];
            const float *bias = number + inputs * outputs;
            for (int j = 0; j < outputs; j++) out[j] = bias[j];
            for (int i = 0; i < inputs; i++)
                for (int j = 0; j < outputs; j++) out[j] += in[i] * number[i * outputs + j];
            for (int j = 0; j < outputs; j++)
                in[j] = layer + 1 < POLICY_LAYERS && out[j] < 0.0f ? 0.0f : out[j];
            number = bias + outputs;
        }
        for (int j = 0; j < POLICY_ACTION; j++) sum[j] += in[j] / POLICY_MEMBERS;
    }

    for (int j = 0; j < POLICY_ACTION; j++) {
        float low = policy_low[j], high = policy_high[j];
        float own = between(low + (tanhf(sum[j]) + 1.0f) * (0.5f * (high - low)), low, high);
        if (POLICY_HAS_RATE_LIMIT) {
            float start = between(previous[j], low, high);
            own = between(own, start - policy_rate_limit[j], start + policy_rate_limit[j]);
        }
        action[j] = own;
    }
    return 0;
}

#ifdef POLICY_MAIN
#include <stdio.h>

int main(void)
{
    float obs[POLICY_OBS], previous[POLICY_ACTION], action[POLICY_ACTION];
    for (;;) {
        for (int i = 0; i < POLICY_OBS; i++)
            if (scanf("%f", &obs[i]) != 1) return i != 0;
        for (int i = 0; POLICY_HAS_RATE_LIMIT && i < POLICY_ACTION; i++)
            if (scanf("%f", &previous[i]) != 1) return 1;
        if (policy_act(obs, previous, action)) {
            fprintf(stderr, "an input is not a finite number\n");
            return 2;
        }
        for (int j = 0; j < POLICY_ACTION; j++)
            printf("%.9g%c", (double)action[j], j + 1 < POLICY_ACTION ? ' ' : '\n');
    }
}
#endif
