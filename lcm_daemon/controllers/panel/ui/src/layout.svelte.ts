/** What is open on the page: the tab of a phone, and the drawer. */

export const DRAWERS = ["LoRA", "ControlNet", "Pictures", "Modulation", "Tempo", "Model", "Audience", "System"] as const;
export type Drawer = (typeof DRAWERS)[number];

export const TABS = ["Looks", "Prompt", "Faders", "Picture"] as const;
export type Tab = (typeof TABS)[number];

class Layout {
  /** The open drawer; "" is none. */
  drawer = $state<Drawer | "">("");
  /** The tab that a phone shows; larger windows show everything. */
  tab = $state<Tab>("Faders");

  toggleDrawer(name: Drawer): void {
    this.drawer = this.drawer === name ? "" : name;
  }
}

export const layout = new Layout();
