// What the cases of this program have counted, for people.
#pragma once

#include <string>

#include "test/life/traffic.h"

namespace fairlead::lab {

// Of a case: a line of the table that is printed when all cases have run.
struct LifeRow {
  std::string name;
  FlowSummary traffic;  // Total
  std::string counted;  // "200 kills, 214 comparisons"
};

// Prints the row at once, and once more in the table.
void Conclude(const LifeRow& row);

}  // namespace fairlead::lab
